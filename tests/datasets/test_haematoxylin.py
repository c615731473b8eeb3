import numpy as np
from scipy.ndimage import distance_transform_edt

from monch_monai.datasets.haematoxylin import SAFE_DISTANCE, free_of_haematoxylin, without_unlabelled
from tests.fakes.fields import NUCLEUS, WHITE, picture, square

NUCLEI = [square(20, 20, 16), square(100, 60, 12)]


def test_background_is_glass_far_from_any_haematoxylin():
    image = picture(128, 160, NUCLEI, WHITE)
    free = free_of_haematoxylin(image)
    distance = distance_transform_edt(image[..., 0] != NUCLEUS[0])
    assert not free[distance <= SAFE_DISTANCE].any()
    assert free[distance > SAFE_DISTANCE + 4].all()


def test_pale_nuclei_are_no_background():
    image = np.full((128, 128, 3), WHITE, np.uint8)
    image[40:60, 40:60] = (215, 205, 232)
    image[90:100, 90:100] = NUCLEUS
    assert not free_of_haematoxylin(image)[40:60, 40:60].any()


def test_glass_alone_is_background():
    assert free_of_haematoxylin(np.full((64, 64, 3), 255, np.uint8)).all()


def test_haematoxylin_alone_is_none():
    assert not free_of_haematoxylin(np.full((64, 64, 3), NUCLEUS, np.uint8)).any()


def test_nuclei_without_a_label_are_left_out_and_labels_stay():
    image = picture(128, 160, NUCLEI, WHITE)
    instances = np.zeros((128, 160), int)
    instances[20:36, 20:36] = 1
    classes = without_unlabelled(image, instances.astype(np.uint8) * 3, instances)
    assert (classes[20:36, 20:36] == 3).all()
    assert (classes[60:72, 100:112] == 255).all()
    assert classes[127, 0] == classes[0, 159] == 0
