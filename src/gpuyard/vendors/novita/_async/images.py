"""`client.gpu.jobs`, `.templates`, `.registries` and `.image_prewarm`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from pydantic import SecretStr

from gpuyard.vendors.novita._async.pages import Page, walk
from gpuyard.vendors.novita._async.transport import AsyncTransport
from gpuyard.vendors.novita.core import Call, an_object, fields, get, nothing, post
from gpuyard.vendors.novita.errors import NotFoundError
from gpuyard.vendors.novita.wire.images import (
    Channel,
    CreateImagePrewarmRequest,
    CreateImagePrewarmResponse,
    CreateRepositoryAuthRequest,
    CreateTemplateRequest,
    CreateTemplateResponse,
    GetTemplateResponse,
    ImagePrewarmTask,
    JobModel,
    ListImagePrewarmTasksResponse,
    ListJobsResponse,
    ListRepositoryAuthsResponse,
    ListTemplatesResponse,
    RepositoryAuth,
    Template,
    UpdateImagePrewarmRequest,
    ids_of,
)

_OWN_AND_OFFICIAL = (Channel.private, Channel.official)


class AsyncJobs:
    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._send = transport.send

    async def break_job(self, job_id: str) -> None:
        """Stop a job that has not ended."""
        await self._send(post("/job/break", nothing, {"jobId": job_id}))

    def iterate(
        self, *, page_size: int = 50, state: str | None = None, type: str | None = None
    ) -> AsyncIterator[JobModel]:
        """Every job, page by page."""

        def page(number: int) -> Call[Page[JobModel]]:
            return _job_page(pageSize=page_size, pageNum=number, state=state, type=type)

        return walk(self._transport, page, lambda job: job.id)

    async def list(
        self,
        *,
        page_size: int | None = None,
        page_num: int | None = None,
        job_id: str | None = None,
        state: str | None = None,
        type: str | None = None,
        start_time: int | None = None,
        end_time: int | None = None,
        creators: str | None = None,
    ) -> list[JobModel]:
        """Times are Unix seconds, 0 for no bound; `creators` is a user's id."""
        query = {"pageSize": page_size, "pageNum": page_num, "jobId": job_id, "state": state, "type": type}
        return (await self._send(_job_page(**query, startTime=start_time, endTime=end_time, creators=creators)))[0]


class AsyncTemplates:
    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._send = transport.send

    async def get(self, template_id: str) -> Template:
        answer = await self._send(get("/template", GetTemplateResponse.model_validate, templateId=template_id))
        return answer.template

    async def create(self, request: CreateTemplateRequest) -> CreateTemplateResponse:
        return await self._send(post("/template/create", CreateTemplateResponse.model_validate, request.to_wire()))

    async def update(self, template_id: str, request: CreateTemplateRequest) -> CreateTemplateResponse:
        """Write the template anew, under its id."""
        body = {"template": {"Id": template_id, **request.template.to_wire()}}

        def read(said: Any) -> CreateTemplateResponse:
            return CreateTemplateResponse.model_validate({"templateId": template_id, **fields(said)})

        return await self._send(post("/template/update", read, body, sets=True))

    async def delete(self, template_id: str) -> None:
        await self._send(post("/template/delete", nothing, {"templateId": template_id}))

    async def iterate(
        self, *, channel: str | None = None, page_size: int = 50, name: str | None = None
    ) -> AsyncIterator[Template]:
        """Every template of the channel, page by page; without one those of one's own, then the official ones."""
        for one in _OWN_AND_OFFICIAL if channel is None else (channel,):

            def page(number: int, channel: str = one) -> Call[Page[Template]]:
                return _template_page(channel, pageSize=page_size, pageNum=number, name=name)

            async for template in walk(self._transport, page, lambda template: template.id):
                yield template

    async def list(
        self,
        *,
        channel: str | None = None,
        page_size: int | None = None,
        page_num: int | None = None,
        name: str | None = None,
    ) -> list[Template]:
        """Without a channel, one's own templates and the official ones: two requests, since the cloud wants the channel
        named in each."""
        found: list[Template] = []
        for one in _OWN_AND_OFFICIAL if channel is None else (channel,):
            templates, _ = await self._send(_template_page(one, pageSize=page_size, pageNum=page_num, name=name))
            known = {template.id for template in found}
            found += [template for template in templates if template.id not in known]
        return found


class AsyncRegistries:
    def __init__(self, transport: AsyncTransport) -> None:
        self._send = transport.send

    async def create(self, name: str, username: str, password: str | SecretStr) -> str:
        """Keep credentials for the registry `name`, under an id that is returned. Where the answer has none it is looked up;
        "" if it is not in the list either. Names are not unique: twice makes two."""
        request = CreateRepositoryAuthRequest(name=name, username=username, password=password)
        made = await self._send(post("/repository/auth/save", fields, request.to_wire()))
        if made.get("id"):
            return str(made["id"])
        mine = [auth.id for auth in await self.list() if (auth.name, auth.username) == (name, username)]
        return mine[-1] if mine else ""

    async def delete(self, auth_id: str) -> None:
        await self._send(post("/repository/auth/delete", nothing, {"id": auth_id}))

    async def list(self) -> list[RepositoryAuth]:
        return await self._send(
            get("/repository/auths", lambda said: ListRepositoryAuthsResponse.around(said, "data").data)
        )


class AsyncImagePrewarm:
    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._send = transport.send

    async def get_quota(self) -> dict[str, Any]:
        """How many tasks there are (`total`), may be (`limit`), and GB per image (`perImageSize`)."""
        return await self._send(get("/image/prewarm/quota", an_object))

    async def create(self, request: CreateImagePrewarmRequest) -> CreateImagePrewarmResponse:
        return await self._send(post("/image/prewarm", CreateImagePrewarmResponse.model_validate, request.to_wire()))

    async def update(self, task_id: str, request: UpdateImagePrewarmRequest) -> ImagePrewarmTask:
        """Change the note. The task as it is afterwards, looked up where the answer does not tell."""
        body = {**request.to_wire(), "id": task_id}

        def read(said: Any) -> ImagePrewarmTask | None:
            return ImagePrewarmTask.model_validate(said) if fields(said).get("id") else None

        if changed := await self._send(post("/image/prewarm/edit", read, body, sets=True)):
            return changed
        async for task in self.iterate():
            if task.id == task_id:
                return task
        raise NotFoundError(f"Resource not found: prewarm task {task_id}")

    async def delete(self, task_id: str | list[str]) -> None:
        """One task, or several."""
        await self._send(post("/image/prewarm/delete", nothing, {"ids": ids_of(task_id)}))

    def iterate(
        self,
        *,
        page_size: int = 50,
        state: str | None = None,
        cluster_id: str | None = None,
        name: str | None = None,
    ) -> AsyncIterator[ImagePrewarmTask]:
        """Every task, page by page."""

        def page(number: int) -> Call[Page[ImagePrewarmTask]]:
            return _prewarm_page(page=number, pageSize=page_size, state=state, clusterId=cluster_id, name=name)

        return walk(self._transport, page, lambda task: task.id, first=1)

    async def list(
        self,
        *,
        page_size: int | None = None,
        page_num: int | None = None,
        state: str | None = None,
        cluster_id: str | None = None,
        name: str | None = None,
    ) -> list[ImagePrewarmTask]:
        """`name` is of the image or in the note. Pages count from 1."""
        query = {"page": page_num, "pageSize": page_size, "state": state, "clusterId": cluster_id, "name": name}
        return (await self._send(_prewarm_page(**query)))[0]


def _job_page(**query: Any) -> Call[Page[JobModel]]:
    def read(said: Any) -> Page[JobModel]:
        listed = ListJobsResponse.around(said, "jobs")
        return listed.jobs, listed.total

    return get("/jobs", read, **query)


def _template_page(channel: str, **query: Any) -> Call[Page[Template]]:
    """The reference wants `channel` and `isMyCommunity` together: true for private templates, false for all others."""

    def read(said: Any) -> Page[Template]:
        listed = ListTemplatesResponse.around(said, "template")
        return listed.template, listed.total

    return get("/templates", read, channel=channel, isMyCommunity=channel == Channel.private, **query)


def _prewarm_page(**query: Any) -> Call[Page[ImagePrewarmTask]]:
    def read(said: Any) -> Page[ImagePrewarmTask]:
        listed = ListImagePrewarmTasksResponse.around(said, "data")
        return listed.data, listed.total

    return get("/image/prewarm", read, **query)
