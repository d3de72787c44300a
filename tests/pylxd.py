"""Uses every part of pylxd that a user of instances needs, over /1.0/containers and /1.0/instances; an assertion ends it."""

import io
import os
import tarfile
import tempfile
import warnings

warnings.simplefilter("ignore")

import pylxd
from pylxd.exceptions import LXDAPIException, NotFound

client = pylxd.Client()
assert client.trusted
assert client.has_api_extension("instances")


def lives(manager):
    """One life of an instance through one of the two families of URLs."""
    devices = {"noted": {"type": "disk", "source": "/usr", "path": "/shared", "readonly": "true"}}
    config = {
        "name": "py1",
        "source": {"type": "image", "alias": "small"},
        "config": {"limits.processes": "200", "user.note": "one"},
        "profiles": ["default"],
        "devices": devices,
    }
    assert not manager.exists("py1")
    instance = manager.create(config, wait=True)
    assert instance.status == "Stopped", instance.status
    assert manager.exists("py1")
    assert [one.name for one in manager.all()] == ["py1"]
    assert instance.devices == devices, instance.devices

    instance.start(wait=True)
    assert instance.status == "Running", instance.status
    code, out, err = instance.execute(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (code, out, err) == (3, "out\n", "err\n"), (code, out, err)
    code, out, _ = instance.execute(["cat"], stdin_payload=b"fed")
    assert (code, out) == (0, "fed"), (code, out)
    code, out, _ = instance.execute(["sh", "-c", "echo $GIVEN; pwd; id -u"], environment={"GIVEN": "a b"}, cwd="/tmp", user=5)
    assert out == "a b\n/tmp\n5\n", out
    assert instance.execute(["test", "-d", "/shared/bin"]).exit_code == 0
    code, _, _ = instance.execute(["/no/such/program"])
    assert code == 127, code

    instance.files.put("/root/file", b"bytes\0", mode=0o640, uid=7, gid=8)
    assert instance.files.get("/root/file") == b"bytes\0"
    assert instance.execute(["stat", "-c", "%a %u %g", "/root/file"]).stdout == "640 7 8\n"
    assert instance.files.delete_available()
    instance.files.delete("/root/file")
    try:
        instance.files.get("/root/file")
        raise AssertionError("a deleted file was read")
    except NotFound:
        pass
    instance.files.mk_dir("/root/made", mode=0o711)
    with tempfile.TemporaryDirectory() as directory:
        os.makedirs(os.path.join(directory, "a/b"))
        with open(os.path.join(directory, "a/b/c"), "w") as file:
            file.write("deep")
        instance.files.recursive_put(directory, "/root/tree")
        assert instance.files.get("/root/tree/a/b/c") == b"deep"
        os.makedirs(os.path.join(directory, "back"))
        instance.files.recursive_get("/root/tree", os.path.join(directory, "back"))
        with open(os.path.join(directory, "back/a/b/c")) as file:
            assert file.read() == "deep"

    state = instance.state()
    assert state.status == "Running" and state.pid > 1 and "eth0" in state.network, state.network

    instance.config["user.note"] = "two"
    instance.devices["null"] = {"type": "unix-char", "source": "/dev/null", "path": "/dev/other"}
    instance.save(wait=True)
    assert instance.execute(["test", "-c", "/dev/other"]).exit_code == 0
    instance.sync()
    assert instance.config["user.note"] == "two"
    del instance.devices["null"]
    instance.save(wait=True)
    assert instance.execute(["test", "-e", "/dev/other"]).exit_code == 1

    instance.freeze(wait=True)
    assert instance.status == "Frozen", instance.status
    instance.unfreeze(wait=True)
    instance.restart(force=True, wait=True)
    assert instance.status == "Running", instance.status

    instance.files.put("/root/then", b"then")
    snapshot = instance.snapshots.create("s1", wait=True)
    instance.files.put("/root/then", b"now")
    assert [one.name for one in instance.snapshots.all()] == ["s1"]
    snapshot = instance.snapshots.get("s1")
    snapshot.rename("s2", wait=True)
    instance.stop(force=True, wait=True)
    assert instance.status == "Stopped", instance.status
    instance.restore_snapshot("s2", wait=True)
    assert instance.files.get("/root/then") == b"then"

    copied = manager.create({"name": "py2", "source": {"type": "copy", "source": "py1"}}, wait=True)
    assert copied.files.get("/root/then") == b"then"
    copied.rename("py3", wait=True)
    manager.get("py3").delete(wait=True)
    instance.snapshots.get("s2").delete(wait=True)
    assert instance.snapshots.all() == []

    # The library has no words for backups: its bare API does.
    api = client.api[instance._endpoint]["py1"].backups
    made = api.post(json={"name": "b1", "compression_algorithm": "none"}).json()
    client.operations.wait_for_operation(made["operation"])
    assert api.get().json()["metadata"] == [f"/1.0/{instance._endpoint}/py1/backups/b1"], api.get().json()
    archive = tarfile.open(fileobj=io.BytesIO(api["b1"].export.get(is_api=False).content))
    assert archive.getnames()[:2] == ["backup", "backup/index.yaml"] or archive.getnames()[0] == "backup/index.yaml", archive.getnames()[:3]
    gone = api["b1"].delete().json()
    client.operations.wait_for_operation(gone["operation"])

    image = instance.publish(wait=True)
    image.add_alias("published", "by pylxd")
    assert client.images.get_by_alias("published").fingerprint == image.fingerprint
    image.delete(wait=True)

    instance.delete(wait=True)
    assert not manager.exists("py1")
    try:
        manager.get("py1")
        raise AssertionError("a deleted instance was read")
    except NotFound:
        pass


lives(client.containers)
lives(client.instances)
try:
    client.containers.create({"name": "no_name", "source": {"type": "image", "alias": "small"}}, wait=True)
    raise AssertionError("a bad name was taken")
except LXDAPIException as error:
    assert "no_name" in str(error), error

profile = client.profiles.create("pyprofile", config={"limits.memory": "64MiB"}, devices={})
assert client.profiles.get("pyprofile").config == {"limits.memory": "64MiB"}
profile.delete()
assert "testbr0" in [network.name for network in client.networks.all()]
pool = client.storage_pools.get("default")
assert pool.driver == "dir"
volume = pool.volumes.create({"name": "pyvolume", "type": "custom", "config": {}}, wait=True)
pool.volumes.get("custom", "pyvolume").delete()
print("all done")
