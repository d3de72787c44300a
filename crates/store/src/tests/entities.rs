//! What goes in comes out, and what must not be is refused.

use coffer_model::entity::ImageForm;
use coffer_model::{Alias, Fingerprint, Image, Network, NetworkName, Project};
use proptest::prelude::*;

use super::*;
use crate::{alias, image, network, project, server, usage};

#[test]
fn a_fresh_database_has_the_default_project_and_profile() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let projects = store.read(project::list).unwrap();
    assert_eq!(projects.len(), 1);
    assert_eq!((projects[0].name.as_str(), projects[0].description.as_str()), ("default", "Default Coffer project"));
    assert!(projects[0].config.iter().all(|(key, value)| key.starts_with("features.") && value == "true"));
    let profiles = store.read(|conn| profile::list(conn, None)).unwrap();
    assert_eq!(profiles.len(), 1);
    assert_eq!((profiles[0].name.as_str(), profiles[0].description.as_str()), ("default", "Default Coffer profile"));
    assert!(profiles[0].devices.0.is_empty() && profiles[0].config.0.is_empty());
}

#[test]
fn instances_live_through_all_their_changes() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    let (project, web): (_, InstanceName) = (default_project(), name("web"));
    let get = || store.read(|conn| instance::get_with_id(conn, &project, &web)).unwrap();

    assert_eq!(add(&store, some_instance("web")).unwrap(), 1);
    assert_eq!(add(&store, some_instance("db")).unwrap(), 2);
    assert_eq!(get(), Some((1, some_instance("web"))));
    assert_eq!(says(add(&store, some_instance("web"))), "instance web already exists");

    let map = IdMap { host: IdRange { start: 1_000_000, size: 65536 } };
    let later: Time = "2024-05-06T08:00:00Z".parse().unwrap();
    store
        .write(|tx| {
            instance::set_phase(tx, &project, &web, Phase::Ready)?;
            instance::touch(tx, &project, &web, later)?;
            instance::set_volatile(tx, &project, &web, &[("volatile.idmap.next", Some(map.to_volatile())), ("volatile.gone", None)])
        })
        .unwrap();
    let mut expect = some_instance("web");
    (expect.phase, expect.last_used_at) = (Phase::Ready, Some(later));
    expect.config.set("volatile.idmap.next", map.to_volatile());
    assert_eq!(get(), Some((1, expect.clone())));
    assert_eq!(store.read(instance::id_ranges).unwrap(), [(project.clone(), web.clone(), map.host)]);
    let refused = store.write(|tx| instance::set_volatile(tx, &project, &web, &[("limits.cpu", Some("9"))]));
    assert_eq!(says(refused), "instance web: key \"limits.cpu\" is not the server's own");

    // An update writes what the user may change; a stale phase or time in it does no harm.
    let mut new = some_instance("web");
    new.description = "new".into();
    new.config.set("volatile.idmap.next", map.to_volatile());
    store.write(|tx| instance::update(tx, &checked(tx, new)?)).unwrap();
    expect.description = "new".into();
    assert_eq!(get(), Some((1, expect)));

    let taken = store.write(|tx| instance::rename(tx, &project, &web, &name("db")));
    assert_eq!(says(taken), "instance db already exists");
    store.write(|tx| instance::rename(tx, &project, &web, &name("www"))).unwrap();
    let ids: Vec<_> = store.read(|conn| instance::list_with_id(conn, None)).unwrap();
    assert_eq!(ids.iter().map(|(id, instance)| (*id, instance.name.as_str())).collect::<Vec<_>>(), [(2, "db"), (1, "www")]);

    assert_eq!(says(store.write(|tx| instance::delete(tx, &project, &web))), "instance web does not exist");
    store.write(|tx| instance::delete(tx, &project, &name("www"))).unwrap();
    assert_eq!(store.read(|conn| instance::count(conn, Some(&project))).unwrap(), 1);
}

#[test]
fn a_map_that_cannot_be_read_is_not_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    add(&store, some_instance("web")).unwrap();
    let set = |map: &str| {
        store.write(|tx| instance::set_volatile(tx, &default_project(), &name("web"), &[("volatile.idmap.next", Some(map))])).unwrap();
        store.read(instance::id_ranges).map(|ranges| ranges.into_iter().map(|(_, _, range)| (range.start, range.size)).collect::<Vec<_>>())
    };
    assert_eq!(set("[]").unwrap(), []);
    // A map as another server wrote it, in two pieces.
    let foreign = r#"[{"Isuid":true,"Isgid":true,"Hostid":5000,"Nsid":0,"Maprange":10},{"Isuid":true,"Isgid":true,"Hostid":9000,"Nsid":10,"Maprange":5}]"#;
    assert_eq!(set(foreign).unwrap(), [(5000, 10), (9000, 5)]);
    assert_eq!(says(set("junk")), "instance web: volatile.idmap.next is not an id map: junk");
}

#[test]
fn what_is_in_use_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    let project = default_project();
    for named in ["a", "b", "c", "d", "e"] {
        add(&store, some_instance(named)).unwrap();
    }
    let bridge = some_network("cofferbr0");
    store.write(|tx| network::insert(tx, &bridge)).unwrap();

    let refused = store.write(|tx| profile::delete(tx, &project, &name("default")));
    assert_eq!(says(refused), "profile default is in use by instance a, instance b, instance c and 2 more");
    let refused = store.write(|tx| pool::delete(tx, &name("default")));
    assert_eq!(says(refused), "storage pool default is in use by instance a, instance b, instance c and 3 more");
    let refused = store.write(|tx| network::delete(tx, &project, &bridge.name));
    assert_eq!(says(refused), "network cofferbr0 is in use by profile default");
    let refused = store.write(|tx| network::rename(tx, &project, &bridge.name, &name("br1")));
    assert_eq!(says(refused), "network cofferbr0 is in use by profile default");
    let refused = store.write(|tx| project::delete(tx, &project));
    assert_eq!(says(refused), "project default is in use by 5 instances, 1 network");

    // Without our own checks, the database's references hold.
    for sql in ["DELETE FROM profiles", "DELETE FROM pools", "DELETE FROM projects"] {
        let what = crate::Subject::new(crate::Entity::Profile, "x");
        let refused = store.write(|tx| tx.run(&what, sql, []));
        assert_eq!(says(refused), "profile x is in use by something else", "{sql}");
    }
    assert_eq!(store.read(|conn| instance::count(conn, None)).unwrap(), 5);
}

#[test]
fn missing_things_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    let mut lost = some_instance("web");
    lost.project = name("dev");
    assert_eq!(says(add(&store, lost)), "project dev does not exist");
    let mut lost = some_instance("web");
    lost.profiles.push(name("missing"));
    assert_eq!(says(add(&store, lost)), "profile missing does not exist");
    let mut lost = some_instance("web");
    lost.pool = name("slow");
    assert_eq!(says(add(&store, lost)), "storage pool slow does not exist");
    let phase = store.write(|tx| instance::set_phase(tx, &default_project(), &name("web"), Phase::Ready));
    assert_eq!(says(phase), "instance web does not exist");
    assert_eq!(store.read(|conn| instance::list(conn, None)).unwrap(), []);
}

#[test]
fn a_project_without_profiles_uses_the_default_ones() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    let dev = Project {
        name: name("dev"),
        description: String::new(),
        config: [("features.profiles", "false"), ("features.networks", "false")].into_iter().collect(),
    };
    store.write(|tx| project::insert(tx, &dev)).unwrap();
    let mut inside = some_instance("web");
    inside.project = dev.name.clone();
    inside.devices.0.insert(name("eth1"), [("type", "nic"), ("nictype", "bridged"), ("parent", "cofferbr0")].into_iter().collect());
    add(&store, inside.clone()).unwrap();
    let users = store.read(|conn| instance::using_profile(conn, &default_project(), &name("default"))).unwrap();
    assert_eq!(users, [(dev.name.clone(), inside.name.clone())]);
    let network: NetworkName = name("cofferbr0");
    let users = store.read(|conn| usage::of_network(conn, &default_project(), &network)).unwrap();
    assert_eq!(users.to_string(), "instance web in project dev, profile default");
    assert!(store.read(|conn| usage::of_network(conn, &dev.name, &network)).unwrap().is_empty());

    assert_eq!(says(store.write(|tx| project::delete(tx, &dev.name))), "project dev is in use by 1 instance");
    store.write(|tx| project::rename(tx, &dev.name, &name("prod"))).unwrap();
    assert_eq!(store.read(|conn| instance::list(conn, Some(&name("prod")))).unwrap().len(), 1);
}

#[test]
fn profiles_keep_their_users_through_a_rename() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    let project = default_project();
    let mut extra = some_profile("extra");
    extra.devices.0.clear();
    store.write(|tx| profile::insert(tx, &gate::profile(extra.clone()).unwrap())).unwrap();
    let mut web = some_instance("web");
    web.profiles = vec![name("extra"), name("default")];
    add(&store, web).unwrap();
    store.write(|tx| profile::rename(tx, &project, &extra.name, &name("a-new-one"))).unwrap();
    let web = store.read(|conn| instance::get(conn, &project, &name("web"))).unwrap().unwrap();
    assert_eq!(web.profiles.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["a-new-one", "default"]);
    let refused = store.write(|tx| profile::rename(tx, &project, &name("a-new-one"), &name("default")));
    assert_eq!(says(refused), "profile default already exists");
}

#[test]
fn images_and_aliases() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    let project = default_project();
    let image = some_image('a');
    let target = image.fingerprint.clone();
    store.write(|tx| image::insert(tx, &image)).unwrap();
    store.write(|tx| image::insert(tx, &some_image('b'))).unwrap();
    assert_eq!(store.read(|conn| image::get(conn, &project, &target)).unwrap().unwrap(), image);
    assert_eq!(store.read(|conn| image::with_prefix(conn, &project, "aaaa")).unwrap(), std::slice::from_ref(&image));
    assert_eq!(store.read(|conn| image::with_prefix(conn, &project, "")).unwrap().len(), 2);
    assert_eq!(store.read(|conn| image::with_prefix(conn, &project, "%")).unwrap(), []);

    let debian = Alias { project: project.clone(), name: name("debian/12"), description: "d".into(), target: target.clone() };
    let no_image = Alias { target: name(&"c".repeat(64)), ..debian.clone() };
    assert!(says(store.write(|tx| alias::insert(tx, &no_image))).ends_with("ccc does not exist"));
    store.write(|tx| alias::insert(tx, &debian)).unwrap();
    assert_eq!(says(store.write(|tx| alias::insert(tx, &debian))), "image alias debian/12 already exists");
    let moved = Alias { target: some_image('b').fingerprint, ..debian.clone() };
    store.write(|tx| alias::update(tx, &moved)).unwrap();
    store.write(|tx| alias::rename(tx, &project, &debian.name, &name("d12"))).unwrap();
    assert_eq!(says(store.write(|tx| alias::rename(tx, &project, &debian.name, &name("x")))), "image alias debian/12 does not exist");
    let of_b = store.read(|conn| alias::of_image(conn, &project, &moved.target)).unwrap();
    assert_eq!(of_b, [Alias { name: name("d12"), ..moved.clone() }]);

    let mut changed = image.clone();
    (changed.public, changed.profiles) = (true, vec![]);
    let later: Time = "2025-01-01T00:00:00.5Z".parse().unwrap();
    store.write(|tx| image::update(tx, &changed).and_then(|()| image::touch(tx, &project, &target, later))).unwrap();
    changed.last_used_at = Some(later);
    assert_eq!(store.read(|conn| image::get(conn, &project, &target)).unwrap().unwrap(), changed);

    store.write(|tx| image::delete(tx, &project, &moved.target)).unwrap();
    assert_eq!(store.read(|conn| alias::list(conn, None)).unwrap(), [], "an alias goes with its image");
    let big = Image { size: u64::MAX, ..some_image('c') };
    assert!(says(store.write(|tx| image::insert(tx, &big))).ends_with("bytes is more than any file has"));
}

#[test]
fn pools_networks_and_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let project = default_project();
    let mut slow = some_pool("slow");
    store.write(|tx| pool::insert(tx, &slow)).unwrap();
    assert_eq!(says(store.write(|tx| pool::insert(tx, &slow))), "storage pool slow already exists");
    slow.description = "slower".into();
    store.write(|tx| pool::update(tx, &slow).and_then(|()| pool::set_made(tx, &slow.name, true))).unwrap();
    slow.made = true;
    assert_eq!(store.read(pool::list).unwrap(), [slow.clone()]);

    let mut network = some_network("br0");
    store.write(|tx| network::insert(tx, &network)).unwrap();
    network.config.set("ipv4.nat", "false");
    store.write(|tx| network::update(tx, &network).and_then(|()| network::set_made(tx, &project, &network.name, false))).unwrap();
    network.made = false;
    assert_eq!(store.read(|conn| network::list(conn, Some(&project))).unwrap(), [network.clone()]);
    store.write(|tx| network::rename(tx, &project, &network.name, &name("br1"))).unwrap();
    assert_eq!(says(store.write(|tx| network::delete(tx, &project, &network.name))), "network br0 does not exist");
    store.write(|tx| network::delete(tx, &project, &name("br1"))).unwrap();

    let config: Config = [("core.https_address", ":8443")].into_iter().collect();
    store.write(|tx| server::set(tx, &config)).unwrap();
    store.write(|tx| server::set(tx, &config)).unwrap();
    assert_eq!(store.read(server::get).unwrap(), config);
}

fn some_network(named: &str) -> Network {
    let config = [("ipv4.address", "10.1.2.1/24")].into_iter().collect();
    Network { project: default_project(), name: name(named), description: String::new(), config, made: true }
}

fn some_image(digit: char) -> Image {
    Image {
        project: default_project(),
        fingerprint: name::<Fingerprint>(&digit.to_string().repeat(64)),
        filename: "debian.tar.xz".into(),
        size: 123_456_789_012,
        public: false,
        auto_update: true,
        cached: true,
        architecture: "x86_64".into(),
        properties: [("os", "Debian")].into_iter().collect(),
        profiles: vec![name("default")],
        created_at: Some("2024-01-02T03:04:05Z".parse().unwrap()),
        expires_at: None,
        last_used_at: None,
        uploaded_at: "2024-02-02T03:04:05.000000001Z".parse().unwrap(),
        form: ImageForm::Layers,
    }
}

fn times() -> impl Strategy<Value = Time> {
    (-377_705_023_201i64..=253_402_207_200, 0i32..1_000_000_000).prop_map(|(seconds, nanoseconds)| Time::new(seconds, nanoseconds).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever text a user writes comes back byte for byte, and whatever moment to the nanosecond.
    #[test]
    fn instances_round_trip(
        description in any::<String>(),
        notes in prop::collection::btree_map("user\\.[a-z]{1,8}", any::<String>(), 0..6),
        created_at in times(),
        last_used_at in prop::option::of(times()),
        ephemeral in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let store = with_pool(directory.path());
        let instance = Instance {
            description, ephemeral, created_at, last_used_at,
            config: Config(notes),
            ..some_instance("web")
        };
        // The gate has its own opinion of some values; here all must be kept, so it sees a plain instance first.
        let id = add(&store, some_instance("web")).unwrap();
        store.write(|tx| {
            let what = crate::Subject::new(crate::Entity::Instance, "web");
            let values = rusqlite::params![
                instance.description, instance.ephemeral, crate::conn::json(&instance.config), instance.created_at.to_string(),
                instance.last_used_at.map(|time| time.to_string()), id,
            ];
            tx.change(&what, "UPDATE instances SET description = ?1, ephemeral = ?2, config = ?3, created_at = ?4, last_used_at = ?5 WHERE id = ?6", values)
        }).unwrap();
        prop_assert_eq!(store.read(|conn| instance::get(conn, &instance.project, &instance.name)).unwrap().unwrap(), instance);
    }

    /// The same for an image, through its own functions.
    #[test]
    fn images_round_trip(
        filename in any::<String>(),
        size in 0..=i64::MAX as u64,
        flags in any::<[bool; 3]>(),
        form in prop::sample::select(vec![ImageForm::Unified, ImageForm::Split, ImageForm::Layers]),
        properties in prop::collection::btree_map(any::<String>(), any::<String>(), 0..6),
        created_at in prop::option::of(times()),
        expires_at in prop::option::of(times()),
        uploaded_at in times(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let [public, auto_update, cached] = flags;
        let image = Image {
            filename, size, public, auto_update, cached, form, created_at, expires_at, uploaded_at,
            properties: Config(properties),
            ..some_image('a')
        };
        store.write(|tx| image::insert(tx, &image)).unwrap();
        prop_assert_eq!(store.read(|conn| image::list(conn, None)).unwrap(), [image]);
    }
}
