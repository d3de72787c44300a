"""Uses what pylxd has beside instances: projects, profiles, networks, pools, volumes, certificates, images, operations, events."""

import json
import os
import subprocess
import tempfile
import threading
import warnings

warnings.simplefilter("ignore")

import pylxd
from pylxd.client import EventType
from pylxd.exceptions import LXDAPIException, LXDAPIExtensionNotAvailable, NotFound

client = pylxd.Client()


def refused(work, *words):
    """Expects that the work is refused in these words."""
    try:
        work()
    except LXDAPIException as error:
        assert all(word in str(error) for word in words), (words, str(error))
        return
    raise AssertionError(f"it was done, though {words} were expected")


def gone(work):
    """Expects that what the work asks for is not there."""
    try:
        work()
    except NotFound:
        return
    raise AssertionError("it is there")


def projects():
    assert "default" in [one.name for one in client.projects.all()]
    assert not client.projects.exists("pyproject")
    project = client.projects.create("pyproject", "of a test", {"features.images": "false", "features.profiles": "true"})
    assert project.description == "of a test" and project.config["features.profiles"] == "true", project.config
    project.config["user.note"] = "one"
    project.save()
    assert client.projects.get("pyproject").config["user.note"] == "one"
    refused(lambda: client.projects.create("pyproject"), "pyproject")
    # The library's own word does not wait for the operation, and asks for the new name at once.
    renamed = client.api.projects["pyproject"].post(json={"name": "pyother"}).json()
    client.operations.wait_for_operation(renamed["operation"])
    assert client.projects.exists("pyother") and not client.projects.exists("pyproject")
    # Another connection, to this project.
    inside = pylxd.Client(project="pyother")
    inside.profiles.create("only", config={"user.a": "b"})
    assert inside.profiles.exists("only") and not client.profiles.exists("only")
    refused(lambda: client.projects.get("pyother").delete(), "pyother")
    inside.profiles.get("only").delete()
    client.projects.get("pyother").delete()
    gone(lambda: client.projects.get("pyother"))


def profiles():
    devices = {"root": {"type": "disk", "path": "/", "pool": "default"}}
    profile = client.profiles.create("pyone", config={"limits.memory": "64MiB"}, devices=devices)
    assert client.profiles.exists("pyone") and profile.devices == devices
    refused(lambda: client.profiles.create("pyone"), "pyone")
    refused(lambda: client.profiles.create("pybad", config={"no.such.key": "1"}), "no.such.key")
    profile.config["user.note"] = "one"
    profile.description = "of a test"
    profile.save()
    profile.sync()
    assert (profile.config["user.note"], profile.description) == ("one", "of a test")
    profile.patch({"config": {"user.more": "two"}})
    assert client.profiles.get("pyone").config["user.more"] == "two"
    profile.put({"config": {"user.last": "three"}, "devices": {}, "description": ""})
    assert client.profiles.get("pyone").config == {"user.last": "three"}
    client.profiles.get("pyone").rename("pytwo")
    assert {"pytwo", "default"} <= {one.name for one in client.profiles.all()}
    client.profiles.get("pytwo").delete()
    gone(lambda: client.profiles.get("pytwo"))


def networks():
    network = client.networks.create("pybr0", "of a test", "bridge", {"ipv4.address": "10.77.1.1/24", "ipv6.address": "none"})
    assert network.managed and network.type == "bridge" and network.config["ipv4.address"] == "10.77.1.1/24", network.config
    assert client.networks.exists("pybr0")
    network.config["ipv4.nat"] = "false"
    network.description = "another"
    network.save()
    network.sync()
    assert (network.config["ipv4.nat"], network.description) == ("false", "another")
    state = network.state()
    assert state.state == "up" and state.type == "broadcast", state
    assert any(address["address"] == "10.77.1.1" for address in state.addresses), state.addresses
    refused(lambda: network.forwards.create({"listen_address": "10.77.9.9", "config": {}, "ports": []}), "forwards are not supported")
    refused(lambda: client.networks.create("pybr1", config={"ipv4.address": "nonsense"}), "ipv4.address")
    network.rename("pybr2")
    assert client.networks.exists("pybr2") and not client.networks.exists("pybr0")
    client.networks.get("pybr2").delete()
    gone(lambda: client.networks.get("pybr2"))


def pools():
    pool = client.storage_pools.create({"name": "pypool", "driver": "dir", "config": {}})
    assert client.storage_pools.exists("pypool") and pool.driver == "dir"
    assert {"default", "pypool"} <= {one.name for one in client.storage_pools.all()}
    space = pool.resources.get().space
    assert space["total"] > 0, space
    pool.description = "of a test"
    pool.save()
    assert client.storage_pools.get("pypool").description == "of a test"
    pool.patch({"config": {"user.note": "one"}})
    assert client.storage_pools.get("pypool").config["user.note"] == "one"
    assert pool.volumes.all() == []
    volume = pool.volumes.create({"name": "pyone", "type": "custom", "config": {"user.a": "b"}}, wait=True)
    assert volume.config["user.a"] == "b" and volume.content_type == "filesystem", volume.config
    volume.config["user.a"] = "c"
    volume.save()
    assert pool.volumes.get("custom", "pyone").config["user.a"] == "c"
    volume.patch({"config": {"user.d": "e"}})
    assert pool.volumes.get("custom", "pyone").config["user.d"] == "e"
    snapshot = volume.snapshots.create("s1")
    assert [one.name for one in volume.snapshots.all(use_recursion=True)] == ["s1"] and volume.snapshots.exists("s1")
    snapshot.rename("s2")
    volume.restore_from("s2", wait=True)
    volume.snapshots.get("s2").restore(wait=True)
    volume.snapshots.get("s2").delete(wait=True)
    assert volume.snapshots.all() == []
    volume.rename({"name": "pytwo", "pool": "pypool"}, wait=True)
    gone(lambda: pool.volumes.get("custom", "pyone"))
    copied = pool.volumes.create({"name": "pythree", "type": "custom", "source": {"name": "pytwo", "pool": "pypool", "type": "copy"}}, wait=True)
    assert copied.name == "pythree"
    for name in ["pytwo", "pythree"]:
        pool.volumes.get("custom", name).delete()
    client.storage_pools.get("pypool").delete()
    gone(lambda: client.storage_pools.get("pypool"))


def certificates():
    with tempfile.TemporaryDirectory() as directory:
        key, crt = os.path.join(directory, "key"), os.path.join(directory, "crt")
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-nodes", "-subj", "/CN=py"]
        subprocess.run(words + ["-keyout", key, "-out", crt], check=True, stderr=subprocess.DEVNULL)
        with open(crt, "rb") as file:
            text = file.read()
    refused(lambda: client.certificates.create("", text, name="py", projects=["default"], restricted=True), "restricted")
    made = client.certificates.create("", text, name="py")
    assert (made.name, made.restricted, made.projects) == ("py", False, []), vars(made)
    assert made.fingerprint in [one.fingerprint for one in client.certificates.all()]
    made.name = "other"
    made.save()
    assert client.certificates.get(made.fingerprint).name == "other"
    made.delete()
    gone(lambda: client.certificates.get(made.fingerprint))
    # Nobody could use it before the server listens on the network.
    refused(lambda: client.certificates.create_token(name="later"), "core.https_address")


def images():
    small = client.images.get_by_alias("small")
    assert client.images.exists(small.fingerprint) and client.images.exists("small", alias=True)
    with small.export() as file:
        copy = file.read()
    small.properties["note"] = "one"
    small.save(wait=True)
    assert client.images.get(small.fingerprint).properties["note"] == "one"
    small.add_alias("pyalias", "of a test")
    small.sync()
    assert "pyalias" in [alias["name"] for alias in small.aliases], small.aliases
    small.delete_alias("pyalias")
    assert not client.images.exists("pyalias", alias=True)
    refused(lambda: client.images.create(copy, wait=True), small.fingerprint)
    gone(lambda: client.images.get("0" * 64))


def operations_and_events():
    events, told, is_there = client.events(event_types={EventType.Lifecycle, EventType.Operation}), [], threading.Event()

    def received(message):
        told.append(json.loads(message.data.decode()))
        if any(one["type"] == "lifecycle" and one["metadata"]["action"] == "instance-created" for one in told):
            is_there.set()

    events.received_message = received
    events.connect()
    listener = threading.Thread(target=events.run, daemon=True)
    listener.start()
    config = {"name": "pyevents", "source": {"type": "image", "alias": "small"}}
    made = client.api.instances.post(json=config).json()
    operation = client.operations.get(made["operation"])
    assert operation.description and operation.id in made["operation"], vars(operation)
    operation.wait()
    assert is_there.wait(30), told
    assert {one["type"] for one in told} == {"lifecycle", "operation"}, told
    events.close()
    client.instances.get("pyevents").delete(wait=True)
    gone(lambda: client.operations.get("00000000-0000-4000-8000-000000000000"))


def clusters():
    assert client.host_info["environment"]["server_clustered"] is False
    # The library itself sees that there is no such extension.
    for work in [client.cluster.get, lambda: client.cluster.enable("node1")]:
        try:
            work()
        except LXDAPIExtensionNotAvailable as error:
            assert "clustering" in str(error), str(error)
            continue
        raise AssertionError("there is a cluster")
    refused(client.cluster.members.all, "cluster")


def others():
    assert client.resources["cpu"]["total"] >= 1
    warned = client.api.warnings.get().json()
    assert warned["status_code"] == 200, warned
    refused(lambda: client.virtual_machines.create({"name": "vm", "source": {"type": "image", "alias": "small"}}, wait=True), "virtual machines")
    assert client.virtual_machines.all() == []


for part in [projects, profiles, networks, pools, certificates, images, operations_and_events, clusters, others]:
    part()
    print(part.__name__, "done")
print("all done")
