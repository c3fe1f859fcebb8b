"""What the pages say of the module is so."""

import re
from typing import Final

import pytest

from tests.terraform.runs import MODULE, ROOT

PAGE: Final = (ROOT / "docs" / "terraform.md").read_text()
README: Final = (MODULE / "README.md").read_text()
VARIABLES: Final = (MODULE / "variables.tf").read_text()


def _variables() -> list[str]:
    return re.findall(r'^variable "([a-z_]+)"', VARIABLES, re.MULTILINE)


@pytest.mark.parametrize("page", [PAGE, README], ids=["docs", "readme"])
def test_variables_that_are_named_are_there(page: str) -> None:
    fields = re.findall(r"^    ([a-z_]+) += ", VARIABLES, re.MULTILINE)
    named = re.findall(r"`([a-z_]+) = ", page)

    assert set(named) - {*_variables(), *fields, "deletion_policy"} == set()


def test_outputs_that_are_named_are_there() -> None:
    outputs = re.findall(r'^output "([a-z_]+)"', (MODULE / "outputs.tf").read_text(), re.MULTILINE)

    assert set(re.findall(r"output `([a-z_]+)`", PAGE)) - set(outputs) == set()
    assert outputs == sorted(outputs)


def test_variables_are_in_alphabetical_order_with_a_meaning() -> None:
    assert _variables() == sorted(_variables())
    assert VARIABLES.count("  description = ") == len(_variables())


def test_each_file_of_the_module_is_explained() -> None:
    files = {path.name for path in MODULE.glob("*.tf")} - {"variables.tf", "outputs.tf", "versions.tf"}

    assert files - set(re.findall(r"`([a-z_]+\.tf)`", README)) == set()
    assert all((MODULE / name).exists() for name in re.findall(r"^\| `([a-z_./]+)`", README, re.MULTILINE))


def test_the_warning_about_the_seed_is_not_overlooked() -> None:
    """Who changes a weight here and sees nothing happen must have been told."""
    assert "is a seed" in README
    assert "This is a seed" in VARIABLES
