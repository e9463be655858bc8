"""/api/infrastructure/cdn/files: files that are stored, listed and removed."""

from __future__ import annotations

from api.body import Stream, amount, exactly
from api.cdn_errors import CDN, cdn_problems
from api.cdn_models import DeletedAnswer, FileAnswer, FilesAnswer, FilesQuery, UploadAnswer, UploadQuery
from api.operation import Call, Operation, Reply
from api.problems import Problem
from api.services import Services
from api.uploads import FIELDS, FILE, FORM, sent
from balancer.cdn.errors import TooLarge
from balancer.cdn.types import StoredFile
from config.schema import Config

FILES = "/api/infrastructure/cdn/files"
NONE_MAX = 100 * 1024 * 1024
"""Bytes of a file while there is no CDN, so that who uploads is told of that and not of the size."""
_FORM_SCHEMA = {
    "type": "object",
    "required": [FILE],
    "additionalProperties": False,
    "description": "The file comes last.",
    "properties": {
        **{name: {"type": "string"} for name in FIELDS},
        FILE: {"type": "string", "format": "binary", "description": "The file, with its filename."},
    },
}


class CdnFiles:
    """The files of the CDN, whoever it is."""

    def __init__(self, services: Services) -> None:
        self._cdn = services.cdn

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation("GET", FILES, "viewer", self.list_files, {200: "A page of them."}, CDN),
            Operation(
                "POST",
                FILES,
                "operator",
                self.upload_file,
                {200: "The same content was there already.", 201: "It is stored."},
                {
                    **CDN,
                    413: "The file is larger than `cdn.max_upload`.",
                    422: "A field is not as expected, or the bytes are not what they are said to be; nothing is kept.",
                    507: "There is no room for it, or the change could not be noted in the audit trail.",
                },
                body_types=(FORM, "*/*"),
                body_schemas={FORM: _FORM_SCHEMA},
                limit=_largest,
                too_large=file_too_large,
            ),
            Operation(
                "DELETE",
                FILES + "/{path}",
                "operator",
                self.delete_file,
                {200: "It is not there any more."},
                {**CDN, 404: "That is no path of a file."},
                tail=True,
            ),
        )

    async def list_files(self, call: Call, query: FilesQuery) -> FilesAnswer:
        """The files that the CDN has, by their paths."""
        with cdn_problems():
            page = await self._cdn.files(query.prefix, query.after, query.limit)
        return FilesAnswer(items=[FileAnswer.model_validate(_file(file)) for file in page.files], next=page.next)

    async def upload_file(self, call: Call, query: UploadQuery, body: Stream) -> Reply[UploadAnswer]:
        """Store a file, sent as the `file` of a form or as the body itself.

        It is read as it comes, whatever its size; when it breaks off or is not what it is said to be, nothing is kept.
        """
        with cdn_problems(body):
            file = await sent(body, query)
            stored = await self._cdn.upload_file(
                file.pieces,
                file.name,
                file.kind,
                content_type=file.content_type,
                tags=file.tags,
                overwrite=file.overwrite,
                size_bytes=file.size,
                sha256_hex=file.sha256,
            )
        call.note("cdn.files", None if stored.created else stored.path, stored.path)
        answer = UploadAnswer.model_validate({**_file(stored), "created": stored.created, "ticket": stored.ticket})
        return Reply(answer, 201 if stored.created else 200)

    async def delete_file(self, call: Call) -> DeletedAnswer:
        """Remove a file, by its path or its URL, and purge it everywhere. To remove what is not there does no harm."""
        path = call.path["path"]
        with cdn_problems():
            gone = await self._cdn.remove_file(path)
        if gone.existed:
            call.note("cdn.files", path, None)
        return DeletedAnswer(path=path, existed=gone.existed, ticket=gone.ticket)


def file_too_large(limit: int, length: int | None = None) -> Problem:
    came = f", and not {amount(length)}" if length is not None else ""
    text = f"the file may have {exactly(limit)} at most (cdn.max_upload){came}; nothing is kept"
    return Problem(413, text, code=TooLarge.code)


def _largest(config: Config) -> int:
    return config.cdn.max_upload if config.cdn is not None else NONE_MAX


def _file(file: StoredFile) -> dict[str, object]:
    return {
        "path": file.path,
        "url": file.url,
        "size": file.size_bytes,
        "content_type": file.content_type,
        "sha256": file.sha256_hex,
        "etag": file.etag,
        "provider": file.provider,
        "stored_at": file.stored_at,
        "tags": list(file.tags),
        "hits": file.hits,
    }
