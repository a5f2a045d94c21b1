"""The inverted lists behind a store's search: what comparing with everybody gives, nearly always, and its scores."""

import pytest

from mvector.store import inverted_lists, open_store

SIZE, FINGERPRINT = 16, "a" * 32


@pytest.mark.parametrize("fewest", [65_536, 30])
def test_a_store_with_inverted_lists_follows_changes(tmp_path, voice, monkeypatch, fewest):
    monkeypatch.setattr(inverted_lists, "FEWEST", fewest)  # 30: eight lists, all of which are scanned
    exact, lists = open_store(tmp_path, FINGERPRINT, SIZE), open_store(tmp_path, FINGERPRINT, SIZE, index="ivf")
    assert lists.search(voice()) == []
    for number in range(60):
        exact.add(f"p{number}", voice())
    query = voice()
    assert lists.search(query, 3) == exact.search(query, 3)
    nearest = exact.search(query, 1)[0].name
    exact.remove(nearest)
    lists.add("p5" if nearest != "p5" else "p6", query)
    lists.add("new", query)
    assert lists.search(query, 3) == exact.search(query, 3)
    assert nearest not in [match.name for match in lists.search(query, 60)]
