"""/v1/files: what batches read and write, as OpenAI's API keeps it. Uploads go into the storage as they come."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson
from flask import Response, request
from flask.views import MethodView
from marshmallow import Schema, ValidationError
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.formparser import FormDataParser

from llmapi.api.context import identity, services
from llmapi.api.openai import headers
from llmapi.api.openai.docs import ERRORS
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.openai_files import UPLOAD, ExpiresAfter, FileDeleted, FileList, FileObject, FileQuery
from llmapi.core.errors import UnsupportedMediaType, ValidationFailed
from llmapi.tasks.batch_files import File, Upload

Json = dict[str, Any]
FORM = 262_144  # bytes of a form beside its file
ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"
FIELDS = frozenset({"purpose", ANCHOR, SECONDS})
WHOLE = re.compile(r"[0-9]{1,9}\Z")
CONTENT = {200: {"description": "What it says", "content": {"application/octet-stream": {"schema": {}}}}}

bp = Blueprint("files", __name__, url_prefix="/v1/files", description="Files of batches")
headers.install(bp)


@bp.route("")
class Files(MethodView):
    @bp.doc(requestBody=UPLOAD, responses=ERRORS)
    @bp.response(200, FileObject())
    def post(self) -> Response:
        """Upload a file of requests, one JSON object a line, as multipart/form-data."""
        return as_json(shown(uploaded()))

    @bp.arguments(FileQuery(), location="query", error_status_code=400)
    @bp.doc(responses=ERRORS)
    @bp.response(200, FileList())
    def get(self, query: Json) -> Response:
        """List your files by age, newest first unless asked otherwise."""
        page = services().batches.files.list(identity().tenant, **query)
        return as_json(listed([shown(each) for each in page.files], page.more))


@bp.route("/<string:file_id>")
class OneFile(MethodView):
    @bp.doc(responses=ERRORS)
    @bp.response(200, FileObject())
    def get(self, file_id: str) -> Response:
        """Tell about a file."""
        return as_json(shown(services().batches.files.get(file_id, identity().tenant)))

    @bp.doc(responses=ERRORS)
    @bp.response(200, FileDeleted())
    def delete(self, file_id: str) -> Response:
        """Delete a file. A batch that has begun to ask does not need its input any more."""
        services().batches.files.delete(file_id, identity().tenant)
        return as_json({"id": file_id, "object": "file", "deleted": True})


@bp.route("/<string:file_id>/content")
class Content(MethodView):
    @bp.doc(responses=ERRORS | CONTENT)
    def get(self, file_id: str) -> Response:
        """Read a file."""
        files = services().batches.files
        known = files.get(file_id, identity().tenant)
        response = Response(files.content(file_id, known.tenant), mimetype="application/octet-stream")
        response.content_length = known.bytes
        return response


def uploaded() -> File:
    """Return the file of this request's form, kept; raises ValidationFailed, UnsupportedMediaType, PayloadTooLarge."""
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("send the file as multipart/form-data")
    files = services().batches.files
    request.max_content_length = files.largest + FORM
    taken: list[Upload] = []
    try:
        keep_for = read_form(lambda name: files.begin(identity().tenant, "batch", name), taken)
        if len(taken) != 1:
            raise unfit("file", "Send one file.")
        if not taken[0].blob.size:
            raise unfit("file", "The file is empty.")
        return files.finish(taken[0], keep_for=keep_for)
    except BaseException:
        for each in taken:
            files.abandon(each)
        raise


def read_form(begin: Callable[[str], Upload], taken: list[Upload]) -> float | None:
    """Read the form to its end, its files into `taken`; returns the seconds they are to be kept."""

    def open_file(
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None,
        content_length: int | None = None,
    ) -> Any:
        if taken:
            raise unfit("file", "Send one file.")
        taken.append(begin(filename or "file"))
        return Sink(taken[0])

    parser = FormDataParser(open_file, max_form_memory_size=FORM, max_form_parts=len(FIELDS) + 1, silent=False)
    options = request.mimetype_params
    try:
        _, form, files = parser.parse(request.stream, request.mimetype, request.content_length, options)
    except (ValueError, UnicodeError):
        raise unfit("file", "The form cannot be read.") from None
    return checked(form, files)


def checked(form: MultiDict[str, str], files: MultiDict[str, FileStorage]) -> float | None:
    """Return the seconds a file is to be kept, or None; raises ValidationFailed for what else the form says wrongly."""
    for name in (*form, *files):
        if name not in (FIELDS if name in form else {"file"}):
            raise unfit((name or "(no name)")[:100], "Unknown field.")
    if form.get("purpose") != "batch":
        raise unfit("purpose", "Must be batch.")
    if ANCHOR not in form and SECONDS not in form:
        return None
    seconds = form.get(SECONDS, "")
    wish = {"anchor": form.get(ANCHOR), "seconds": int(seconds) if WHOLE.match(seconds) else None}
    try:
        return float(Expiry().load({"expires_after": wish})["expires_after"])
    except ValidationError as error:
        raise unfit("expires_after", str(error.messages_dict["expires_after"][0])) from None


class Expiry(Schema):
    """The one field of the form that has parts."""

    expires_after = ExpiresAfter()


class Sink:
    """An upload as werkzeug's parser writes it."""

    def __init__(self, upload: Upload) -> None:
        self.write = upload.write

    def seek(self, _: int) -> None:
        """Stay at the end: what was written is not read here."""

    def close(self) -> None:
        """The upload is closed by who opened it."""


def unfit(name: str, what: str) -> ValidationFailed:
    """Return the error for a wrong part of the form."""
    return ValidationFailed("The upload is not valid.", fields={name: [what]})


def shown(file: File) -> Json:
    """Return a file as OpenAI's API shows it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": seconds(file.created),
        "expires_at": seconds(file.expires),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def listed(data: list[Json], more: bool) -> Json:
    """Return a page of OpenAI's lists."""
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return {"object": "list", "data": data, **ends, "has_more": more}


def seconds(instant: datetime) -> int:
    """Return an instant as OpenAI's API tells it."""
    return int(instant.timestamp())


def as_json(told: Json) -> Response:
    """Return a JSON answer."""
    return Response(orjson.dumps(told), mimetype="application/json")
