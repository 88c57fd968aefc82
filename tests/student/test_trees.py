from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tinythinker.student.trees import MOST_TOKENS, Branch, groves, tree_of


def test_the_worked_miniature_of_the_module() -> None:
    tree = tree_of([Branch([1, 2, 3, 4, 9], 2), Branch([1, 2, 5, 9], 2)])
    assert tree.ids == [1, 2, 3, 4, 5]
    assert tree.depths == [0, 1, 2, 3, 2]
    assert tree.ends == [5, 5, 4, 4, 5]  # 3 and 4 are seen by each other only
    # The first branch's 3, 4 and 9 are predicted at 2, 3 and 4; the second one's 5 and 9 at 2 and 5.
    assert tree.predicted_at == [[1, 2, 3], [1, 4]]


texts = st.lists(st.integers(0, 2), min_size=2, max_size=7)


@given(st.lists(texts.flatmap(lambda ids: st.builds(Branch, st.just(ids), st.integers(1, len(ids) - 1))), min_size=1))
def test_every_branch_can_be_read_off_its_tree(branches: list[Branch]) -> None:
    tree = tree_of(branches)
    for branch, places in zip(branches, tree.predicted_at, strict=True):
        assert len(places) == len(branch.ids) - branch.width
        # The tokens that the last of these may attend to are the branch without its last token, in order.
        seen = [j for j in range(places[-1] + 1) if places[-1] < tree.ends[j]]
        assert [tree.ids[j] for j in seen] == branch.ids[:-1]
        assert [tree.depths[j] for j in seen] == list(range(len(branch.ids) - 1))
    beginnings = {tuple(branch.ids[:n]) for branch in branches for n in range(1, len(branch.ids))}
    assert len(tree.ids) == len(beginnings)


def test_prompts_that_begin_alike_stand_together_and_others_do_not() -> None:
    prompts = [[1, 2, 3, 4], [7, 8, 9], [1, 2, 3, 5], [7, 8], [1, 9, 9, 9, 9]]
    assert groves(prompts, [1] * 5, 0.02) == [[0, 2], [4], [3, 1]]
    assert groves(prompts, [1] * 5, 0.02, most=1) == [[0], [2], [4], [3], [1]]


def test_an_item_joins_a_tree_where_it_saves_more_than_attention_costs() -> None:
    # The tree of the first two has 7 tokens. The third has 6 and would make it 12, one less than 7 + 6. That compares
    # 12 * 12 - 7 * 7 - 6 * 6 = 59 pairs more. So it pays where a pair costs less than 1/59 of a token.
    prompts = [[1, 2, 3, 4], [1, 2, 3, 5], [1, 9, 9, 9, 9]]
    assert groves(prompts, [1] * 3, 1 / 58) == [[0, 1], [2]]
    assert groves(prompts, [1] * 3, 1 / 60) == [[0, 1, 2]]


def test_a_tree_does_not_outgrow_its_limit() -> None:
    trees = groves([[1] * 300 + [i] for i in range(9)], [200] * 9, 0.0)
    assert all(301 + 201 * (len(some) - 1) + 200 <= MOST_TOKENS + 1 for some in trees)
    assert sorted(i for some in trees for i in some) == list(range(9))
    assert [len(some) for some in trees] == [3, 3, 3]
