from monch_monai.files import remove, replace_folder


def test_a_whole_folder_takes_the_place_of_an_earlier_one(tmp_path):
    target, made = tmp_path / "a.zarr", tmp_path / "made"
    for name in ("first", "second"):
        made.mkdir()
        (made / name).write_text(name)
        replace_folder(target, made)
        assert [path.name for path in target.iterdir()] == [name]
        remove(made)
    assert list(tmp_path.iterdir()) == [target]


def test_files_folders_and_what_is_not_there_are_removed_and_where_a_link_leads_is_kept(tmp_path):
    kept, folder, file, link = (tmp_path / name for name in ("kept", "folder", "file", "link"))
    (folder / "inner").mkdir(parents=True)
    kept.mkdir()
    file.touch()
    link.symlink_to(kept)
    for path in (folder, file, link, tmp_path / "none"):
        remove(path)
    assert list(tmp_path.iterdir()) == [kept]
