import pytest

from postman.sandbox.forms import Field, FormError, read_form

MULTIPART = "multipart/form-data; boundary=line"


def part(disposition: str, content: bytes = b"x", extra: str = "") -> bytes:
    return f"--line\r\nContent-Disposition: form-data; {disposition}\r\n{extra}\r\n".encode() + content + b"\r\n"


def test_an_urlencoded_form_keeps_order_repetition_and_empty_values() -> None:
    fields = read_form("application/x-www-form-urlencoded; charset=utf-8", b"to=a%40x.org&to=b&text=%C3%BC&html=")

    assert [(field.name, field.text) for field in fields] == [
        ("to", "a@x.org"),
        ("to", "b"),
        ("text", "ü"),
        ("html", ""),
    ]


def test_a_multipart_form_keeps_bytes_as_they_are() -> None:
    content = b"\x00\xff\r\n--lin\r\n\r\n"
    body = part('name="attachment"; filename="a.bin"', content, "Content-Type: image/png\r\n") + b"--line--\r\n"

    assert read_form(MULTIPART, body) == [Field("attachment", content, "a.bin", "image/png")]


def test_a_field_without_a_filename_is_no_file() -> None:
    body = part('name="text"', "grüße".encode()) + b"--line--"

    [field] = read_form(MULTIPART, body)

    assert field.filename is None
    assert field.text == "grüße"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('filename="ü.txt"', "ü.txt"),
        ('filename="a%22b.txt"', 'a"b.txt'),
        ('filename="a;b.txt"', "a;b.txt"),
        ("filename=plain", "plain"),
    ],
)
def test_filenames_are_read_as_clients_write_them(written: str, meant: str) -> None:
    [field] = read_form(MULTIPART, part(f'name="attachment"; {written}') + b"--line--\r\n")

    assert (field.name, field.filename) == ("attachment", meant)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("", b""),
        ("multipart/form-data", b"--line--"),
        (MULTIPART, b""),
        (MULTIPART, part('name="to"')),
        (MULTIPART, b"--line\r\nContent-Disposition: form-data\r\n\r\nx\r\n--line--"),
        (MULTIPART, b"--line\r\nbroken\r\n--line--"),
    ],
)
def test_what_is_no_whole_form_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(FormError):
        read_form(content_type, body)
