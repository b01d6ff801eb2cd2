"""Bond tags: a line before the question that names the trace's bonds, on a share of the training samples and nowhere
else."""

from pathlib import Path

import pytest

from stillery.config import BondsConfig, Config, CurateConfig
from stillery.curation.bond_tags import TAGGED, bond_tag, is_tagged, tag_of, tagged, with_tag, without_tag
from stillery.curation.checks import check_curation
from stillery.curation.files import Inputs, curate_file
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.io.tables import TableRows
from stillery.records import (
    Atom,
    Bond,
    BondKind,
    Generation,
    Message,
    Molecule,
    Prompt,
    Sample,
    Split,
    Verdict,
    VerdictKind,
)
from stillery.sampling.chat.conversation import open_conversation, student_format
from stillery.stages.curate import STAGE, needs_bonds
from stillery.training.attention.drafts import texts_of

NAME = "generations-00000.parquet"


def molecule(*bonds: tuple[int, int, BondKind], sample_id: str = "s", error: str | None = None) -> Molecule:
    atoms = [] if error else [Atom(10 * i, 10 * i + 10, "x" * 10, "line", [], inserted=False) for i in range(6)]
    found = [Bond(source, target, kind, 0.7, "claims", "") for source, target, kind in bonds]
    return Molecule(sample_id, atoms, found, 0.0, 1.0, 1.0, [], error)


def sample(number: int = 0) -> Sample:
    question, text = f"What is {number} + 1?", "<think>\n1\n</think>\n<answer>2</answer>"
    return Sample(
        f"s{number}", f"p{number}", "t", "train", [Message("user", question)], [Message("assistant", text)], [],
        "reasoning", "T",
    )  # fmt: skip


def test_a_tag_counts_the_steps_that_reflect_and_explore() -> None:
    reflect, explore, logic = BondKind.REFLECTION, BondKind.EXPLORATION, BondKind.STRONG_LOGIC
    # Two bonds of one step are one step that checks.
    found = tag_of(molecule((0, 2, reflect), (1, 2, reflect), (0, 1, logic), (1, 3, explore), (1, 4, explore)))
    assert found == bond_tag(reflecting=1, exploring=2) == "[bonds: reflect 1, explore 2]\n"
    assert tag_of(molecule()) == bond_tag(reflecting=0, exploring=0)
    assert bond_tag(reflecting=3, exploring=7) == "[bonds: reflect 3+, explore 3+]\n"
    assert tag_of(molecule(error="RecursionError")) is None
    assert tag_of(None) is None


def test_a_tag_is_taken_off_again_and_nothing_else_is() -> None:
    for reflecting in (0, 2, 5):
        (message,) = with_tag(sample().prompt, bond_tag(reflecting=reflecting, exploring=1))
        assert without_tag(message.content) == sample().prompt[0].content
    for text in ("[bonds: reflect x]\nWhat?", "What are [bonds: reflect 1, explore 0]\n?", ""):
        assert without_tag(text) == text


def test_a_share_is_tagged_the_same_whenever_it_is_drawn() -> None:
    rows = [tagged(sample(n), molecule(), share=0.5, seed=1) for n in range(400)]
    chosen = [is_tagged(row) for row in rows]
    assert 160 < sum(chosen) < 240
    assert chosen == [is_tagged(tagged(sample(n), molecule(), share=0.5, seed=1)) for n in range(400)]
    assert chosen != [is_tagged(tagged(sample(n), molecule(), share=0.5, seed=2)) for n in range(400)]
    assert all(is_tagged(tagged(sample(n), molecule(), share=1.0, seed=1)) for n in range(50))
    assert tagged(sample(), None, share=1.0, seed=1) == sample()


def test_training_sees_the_tag_and_attention_targets_do_not() -> None:
    conversation = open_conversation(student_format(Config().sft), key="sft.student")
    one = tagged(sample(), molecule(), share=1.0, seed=0)
    row, plain = conversation.rows([one, sample()])
    tag = conversation.tokenize([bond_tag(reflecting=0, exploring=0)])[0]
    assert len(row.prompt_ids) == len(plain.prompt_ids) + len(tag)
    assert row.completion_ids == plain.completion_ids
    assert texts_of(one) == texts_of(sample())


def curated(folder: Path, config: CurateConfig) -> tuple[list[Sample], dict[str, int]]:
    """Samples of four problems, two of them for validation; the last trace could not be analysed."""
    prompts = [
        Prompt(f"p{n}", "t", f"What is {n} + 1?", str(n + 1), "number", [], "s",
               Split.VALIDATION if n % 2 else Split.TRAIN, 1, None)
        for n in range(6)
    ]  # fmt: skip
    rows = [
        Generation(f"s{n}", f"p{n}", 0, 0, "", f"<think>\n{n}\n</think>\n<answer>{n + 1}</answer>", "stop", 1, 9, None,
                   "T", "{}", 0, False, None)
        for n in range(6)
    ]  # fmt: skip
    verdicts = [Verdict(f"s{n}", f"p{n}", "", "", str(n + 1), VerdictKind.CORRECT, "ok", [], None) for n in range(6)]
    molecules = [molecule(sample_id=f"s{n}", error="too deep" if n == 4 else None) for n in range(6)]
    tables = {name: Folder(str(folder / name)) for name in ("generations", "verdicts", "molecules", "out")}
    tables["generations"].write_rows(NAME, rows, Generation)
    tables["verdicts"].write_rows("verdicts-00000.parquet", verdicts, Verdict)
    tables["molecules"].write_rows("molecules-00000.parquet", molecules, Molecule)
    found = [TableRows.of(tables[name]) for name in ("verdicts", "molecules")]
    counts = curate_file(
        (NAME, 0), by_id={p.prompt_id: p for p in prompts}, screened={}, config=config, stopping=None,
        inputs=Inputs(tables["generations"], *found), out=tables["out"], seed=0,
    )  # fmt: skip
    return tables["out"].read_rows("samples-00000.parquet", Sample), dict(counts["tagged"])


def test_curation_writes_tags_into_what_trains(tmp_path: Path) -> None:
    rows, counts = curated(tmp_path / "on", CurateConfig(bond_tags=1.0))
    assert [is_tagged(row) for row in rows] == [True, False, True, False, False, False]
    assert counts == {TAGGED: 2}
    plain, counts = curated(tmp_path / "off", CurateConfig())
    assert counts == {TAGGED: 0}
    assert not any(is_tagged(row) for row in plain)


def test_off_is_another_stage_in_nothing() -> None:
    off, on = Config(), Config(curate=CurateConfig(bond_tags=0.5))
    assert "bond_tags" not in STAGE.settings(off)
    assert STAGE.settings(on)["bond_tags"] == 0.5
    assert STAGE.settings(on)["seed"] == on.run.seed
    assert not needs_bonds(off)
    assert needs_bonds(on)


@pytest.mark.parametrize(
    ("share", "bonds", "named"), [(1.5, True, "curate.bond_tags is 1.5"), (0.5, False, "bonds.enabled=true")]
)
def test_what_cannot_be_meant_is_said(share: float, bonds: bool, named: str) -> None:
    config = Config(curate=CurateConfig(bond_tags=share), bonds=BondsConfig(enabled=bonds))
    with pytest.raises(UserError, match=named):
        check_curation(config)
