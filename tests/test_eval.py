"""eval.py: where results cannot go is said before anything is read."""

from pathlib import Path

import pytest

from also_selfsup import eval as scoring


def test_a_folder_that_takes_no_predictions_is_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = f"--split val --config {tmp_path}/none.yaml --ckpt {tmp_path}/none.ckpt".split()
    monkeypatch.setattr("sys.argv", ["eval.py", *words, "--save-predictions", "/proc/none"])
    with pytest.raises(SystemExit, match="error: /proc/none: cannot be written"):
        scoring.main()
    monkeypatch.setattr("sys.argv", ["eval.py", *words, "--save-predictions", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"error: .*none\.yaml: no such file"):
        scoring.main()
    assert list(tmp_path.iterdir()) == []
