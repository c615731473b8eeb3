from tests.fakes.agreement import GRADIENTS, LOGITS, disagreement
from tests.fakes.network import noise, small_monch


def test_the_network_agrees_with_itself_by_the_definitions():
    logits, gradients = disagreement(small_monch(), noise(2, 3, 160, 160), "triton")
    assert logits < LOGITS
    assert gradients < GRADIENTS
