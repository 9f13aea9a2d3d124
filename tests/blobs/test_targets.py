"""Names from a server: what they may lead to, and what is refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from mirror.blobs import safe_target
from mirror.blobs.targets import Targets, ignores_case
from mirror.errors import MirrorError, UnsafeName


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.txt", ("a.txt",)),
        ("a/b/c.bin", ("a", "b", "c.bin")),
        ("./a//b", ("a", "b")),
        ("..a/b..", ("..a", "b..")),
        ("...", ("...",)),
        ("a b\n\t*?", ("a b\n\t*?",)),
        ("~/x", ("~", "x")),
        ("$HOME", ("$HOME",)),
        ("-rf", ("-rf",)),
        ("Ünï/日本.txt", ("Ünï", "日本.txt")),
        ("aux.py", ("aux.py",)),  # a device on Windows only, and the real client downloads it
        ("x" * 255, ("x" * 255,)),
        ("x" * 64 + "/y", ("x" * 64, "y")),
        ("日" * 63 + "/" + "𝄞" * 63, ("日" * 63, "𝄞" * 63)),
        ("ab:c", ("ab:c",)),
        ("a/" * 12 + "b", (*"a" * 12, "b")),
        ("a/./b/.", ("a", "b")),
        ("a\udcff", ("a\udcff",)),  # a byte that is no UTF-8, as Python spells it
    ],
)
def test_an_ordinary_name_is_a_file_below_the_folder(
    tmp_path: Path, name: str, parts: tuple[str, ...]
) -> None:
    assert safe_target(tmp_path, name) == tmp_path.joinpath(*parts)
    assert Targets(tmp_path).take(name).path == str(tmp_path.joinpath(*parts))


HOSTILE = [
    ("", "names no file"),
    (".", "names no file"),
    ("./", "names no file"),
    ("/etc/passwd", "absolute"),
    ("//server/share/x", "absolute"),
    ("/dev/null", "absolute"),
    ("C:\\x", "absolute"),
    ("C:x", "absolute"),
    ("\\\\server\\share\\x", "absolute"),
    ("\\x", "absolute"),
    ("\\\\.\\COM1", "absolute"),
    ("..", "upwards"),
    ("../x", "upwards"),
    ("a/../../x", "upwards"),
    ("a/..", "upwards"),
    ("a\\..\\..\\x", "upwards"),
    ("a\0b", "NUL"),
    ("\0", "NUL"),
    ("a/\0/b", "NUL"),
    ("x" * 256, "256 bytes"),
    ("é" * 128, "256 bytes"),
    ("a/" + "y" * 300 + "/b", "300 bytes"),
    ("/".join(["d" * 200] * 30), "too long"),
    ("a\ud800", "no file name"),
]


@pytest.mark.parametrize(("name", "problem"), HOSTILE, ids=[ascii(n)[:30] for n, _ in HOSTILE])
def test_a_hostile_name_is_refused_in_one_sentence(tmp_path: Path, name: str, problem: str) -> None:
    for judge in (partial(safe_target, tmp_path), Targets(tmp_path).take):
        with pytest.raises(UnsafeName, match=problem) as raised:
            judge(name)
        assert isinstance(raised.value, MirrorError | ValueError)
        assert len(str(raised.value)) < 300
        assert raised.value.name == name
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "name", ["CON", "nul", "a/aux.txt", "COM1", "lpt9.log", "conin$", "a.", "b ", "file:stream"]
)
def test_a_device_is_refused_where_names_follow_windows(tmp_path: Path, name: str) -> None:
    assert safe_target(tmp_path, name) == tmp_path / name
    with pytest.raises(UnsafeName, match="file system"):
        safe_target(tmp_path, name, windows_names=True)


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "inner").mkdir()
    (root / "out").symlink_to(outside)
    (root / "in").symlink_to(root / "inner")
    assert safe_target(root, "in/x") == root / "in" / "x"
    for name in ("out/x", "out/deeper/x"):
        with pytest.raises(UnsafeName, match="link"):
            safe_target(root, name)
        with pytest.raises(UnsafeName, match="link"):
            Targets(root).take(name)
    assert list(outside.iterdir()) == []


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert safe_target(tmp_path / "link", "a/b") == tmp_path / "link" / "a" / "b"


@pytest.mark.parametrize(
    ("names", "case_matters", "refused"),
    [
        (("a", "A"), True, False),
        (("a", "A"), False, True),
        (("dir/a", "DIR/A"), False, True),
        (("é", "e\u0301"), False, True),
        (("straße", "STRASSE"), False, True),
        (("a/b", "a//b"), True, True),
        (("a", "a"), True, False),
    ],
)
def test_two_names_of_one_file_are_refused(
    tmp_path: Path, names: tuple[str, str], case_matters: bool, refused: bool
) -> None:
    targets = Targets(tmp_path, case_matters=case_matters)
    targets.take(names[0])
    if refused:
        with pytest.raises(UnsafeName, match="the same file as"):
            targets.take(names[1])
    else:
        targets.take(names[1])


def test_whether_case_matters_is_tried_out(tmp_path: Path) -> None:
    (tmp_path / "probe").write_text("")
    assert ignores_case(tmp_path) == (tmp_path / "PROBE").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["probe"]


@pytest.mark.parametrize("name", ["new", "1", "größe"])
def test_a_new_folder_is_asked_for_its_own_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    assert ignores_case(folder, is_new=True) == ignores_case(folder)
    (tmp_path / "NEW").mkdir(exist_ok=True)  # another folder, where case matters
    assert ignores_case(folder, is_new=True) == ignores_case(folder)
    assert [*folder.iterdir()] == []
