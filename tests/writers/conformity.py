"""What DICOM's standard asks of a file, by the tables of PS3.3 that highdicom carries."""

from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map


def missing_elements(dataset):
    """Elements of type 1 that a file lacks or has empty, and of type 2 that it lacks, in its mandatory modules.

    Of sequences, only items that are there are asked. Which functional groups there are is not: a group is in one of
    the two sequences or in none.
    """
    found = []
    for module in get_iod_module_map()[get_sop_class_iod_map()[dataset.SOPClassUID]]:
        if module["usage"] != "M":
            continue
        for attribute in get_module_attribute_map()[module["key"]]:
            if attribute["path"] in (["SharedFunctionalGroupsSequence"], ["PerFrameFunctionalGroupsSequence"]):
                continue
            for item in _items([dataset], attribute["path"]):
                present = attribute["keyword"] in item
                empty = present and _is_empty(item, attribute["keyword"])
                if (attribute["type"] == "1" and (not present or empty)) or (attribute["type"] == "2" and not present):
                    found.append((module["key"], *attribute["path"], attribute["keyword"]))
    return found


def _items(items, path):
    for name in path:
        items = [inner for item in items for inner in item.get(name, ())]
    return items


def _is_empty(item, keyword):
    value = item[keyword].value
    return value is None or (hasattr(value, "__len__") and len(value) == 0)
