import pytest

from postman.sandbox.sendgrid.query import Condition, QueryError, matches, read_query

ALLOWED = {
    "to_email": frozenset({"=", "LIKE", "IN"}),
    "unique_args": frozenset({"="}),
    "created": frozenset({"<", ">", "<=", ">=", "BETWEEN"}),
}


def test_conditions_are_joined_by_and() -> None:
    query = (
        '(unique_args[\'mail_id\']="m \\"1\\"") AND to_email = \'a@example.com\' AND created > TIMESTAMP "2026-01-01"'
    )

    assert read_query(query, ALLOWED) == (
        Condition("unique_args", "=", ('m "1"',), "mail_id"),
        Condition("to_email", "=", ("a@example.com",)),
        Condition("created", ">", ("2026-01-01",)),
    )


def test_in_takes_a_list_and_between_two_values() -> None:
    query = "to_email IN ('a', 'b') AND created BETWEEN TIMESTAMP \"1\" AND TIMESTAMP \"2\""

    assert [condition.values for condition in read_query(query, ALLOWED)] == [("a", "b"), ("1", "2")]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ('bad_field="x"', "'bad_field' is not a known field"),
        ('to_email > "x"', "'>' is not an operator"),
        ("to_email =", "unexpected end"),
        ('to_email="x" to_email="y"', "expected AND"),
        ("to_email = other", "is not a value"),
        ('to_email = "open', "cannot be read"),
    ],
)
def test_a_wrong_query_is_refused_in_words(query: str, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        read_query(query, ALLOWED)


@pytest.mark.parametrize(
    ("operator", "values", "actual", "expected"),
    [
        ("=", ("a",), "a", True),
        ("=", ("a",), "A", False),
        ("!=", ("a",), "b", True),
        ("LIKE", ("ab%",), "abc", True),
        ("LIKE", ("ab%",), "xab", False),
        ("LIKE", ("a.c",), "abc", False),
        ("IN", ("a", "b"), "b", True),
        ("IN", ("a", "b"), "c", False),
        (">", ("2026-01-01",), "2026-01-02", True),
        (">", ("2026-01-01",), "2026-01-01", False),
        (">=", ("2026-01-01",), "2026-01-01", True),
        ("<", ("2026-01-01",), "2025-01-01", True),
        ("<=", ("2026-01-01",), "2026-01-02", False),
        ("BETWEEN", ("a", "c"), "b", True),
        ("BETWEEN", ("a", "c"), "d", False),
    ],
)
def test_a_condition_compares_by_its_operator(
    operator: str, values: tuple[str, ...], actual: str, *, expected: bool
) -> None:
    assert matches(Condition("to_email", operator, values), actual) is expected
