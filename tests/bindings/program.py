"""The same in Python: the interface that Kotlin and Swift have, where neither is to be had."""

import asyncio
import os
import sys

sys.path.insert(0, os.environ["MAREA_BINDINGS"])
import marea


class Tokens(marea.TokenSource):
    def access_token(self, fresh):
        return os.environ["MAREA_TOKEN"]


class Heard(marea.ChangeListener):
    def __init__(self):
        self.topics = []

    def changed(self, topics):
        self.topics.extend(topics)


def options(folder, online):
    return marea.OpenOptions(
        dir=folder,
        user_id=os.environ["MAREA_USER"],
        url=os.environ["MAREA_URL"],
        publishable_key=os.environ["MAREA_KEY"],
        schema=os.environ["MAREA_SCHEMA"],
        online=online,
    )


async def code_of(call):
    try:
        await call
        return "none"
    except marea.MareaError.Failed as refused:
        assert "sk-" not in refused.reason
        return refused.code


async def main():
    heard = Heard()
    phone = await marea.Marea.open(options(os.environ["MAREA_DIR"] + "/phone", False), Tokens(), heard)
    session = lambda: marea.SessionInput(session_type="qa", duration_minutes=2)
    made = await asyncio.gather(*(phone.record_session(session()) for _ in range(20)))
    assert len({recorded.id for recorded in made}) == 20
    assert any(topic.is_TABLE() and topic.name == "user_progress" for topic in heard.topics)
    assert (await phone.progress()).total_sessions == 20
    status = await phone.status()
    assert (status.pending, status.paused) == (20, True)

    key = (await phone.insert("word_lists", '{"title": "Animals"}')).key
    await phone.update("word_lists", key, '{"position": 3}')
    assert '"position":3' in await phone.row("word_lists", key)
    assert await phone.count("word_lists", "{}") == 1
    assert "Animals" in await phone.query("SELECT title FROM word_lists WHERE position > ?1", "[2]")

    await phone.keys_set_up("orbit velvet canoe drum")
    await phone.keys_put("openai", "sk-proj-0123456789abca1B2")
    assert await phone.keys_open("openai") == b"sk-proj-0123456789abca1B2"
    await phone.keys_lock()

    refused = [
        await code_of(phone.keys_open("openai")),
        await code_of(phone.record_session(marea.SessionInput(session_type=""))),
        await code_of(phone.insert("nowhere", "{}")),
        await code_of(phone.insert("word_lists", "sk-no object")),
        await code_of(phone.query("DELETE FROM word_lists", "[]")),
        await code_of(marea.Marea.open(options("/dev/null/x", False), Tokens(), None)),
    ]
    print(*refused)

    await phone.set_online(True)
    assert (await phone.sync()).outcome == "done"
    laptop = await marea.Marea.open(options(os.environ["MAREA_DIR"] + "/laptop", True), Tokens(), None)
    assert (await laptop.sync()).outcome == "done"
    assert (await laptop.progress()).total_sessions == 20
    assert await laptop.count("word_lists", "{}") == 1
    assert laptop.erase() == 0
    phone.shut_down()
    print(await code_of(phone.progress()))


asyncio.run(main())
