//! What goes into a backup, and in which order.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_image::Member;
use coffer_image::backup::{DISK, DISK_SUFFIX, INDEX, INSTANCE, SNAPSHOTS, STREAM_SUFFIX, STREAMS_HEADER, VOLUME, VOLUME_SNAPSHOTS};
use coffer_model::{ContentType, IdRange, Instance};
use coffer_storage::{Pool, Streams, View, Volume};
use coffer_store::backup::{self, BackupError, Document, Index};

use super::Held;
use super::files;
use super::moment::Moment;
use crate::Engine;
use crate::error::EngineError;
use crate::image::publish::shifted;
use crate::volume::VolumePlace;

/// The members of an archive, with the volumes that they are read from.
#[derive(Default)]
pub(super) struct Content {
    pub(super) members: Vec<Member>,
    pub(super) views: Vec<View>,
    /// Files without a name that hold streams.
    pub(super) files: Vec<OwnedFd>,
}

/// Where the streams of an optimized backup are kept until they are packed.
pub(super) struct Room<'a> {
    /// The pool that writes them.
    pub(super) power: &'a dyn Streams,
    /// The directory whose file system has the room.
    pub(super) directory: BorrowedFd<'a>,
}

impl Engine {
    /// All of what was claimed to be packed; as streams if there is room for them.
    pub(super) fn content(&self, moment: &Moment<'_>, snapshots: bool, room: Option<&Room<'_>>) -> Result<Content, EngineError> {
        match moment.held() {
            Held::Instance(_, instance) => self.instance_content(instance, moment, snapshots, room),
            Held::Volume { place, .. } => self.volume_content(place, moment, snapshots, room),
        }
    }

    /// All of an instance: its index, its snapshots if they are wanted, itself.
    fn instance_content(
        &self,
        instance: &Instance,
        moment: &Moment<'_>,
        snapshots: bool,
        room: Option<&Room<'_>>,
    ) -> Result<Content, EngineError> {
        // Loaded only now: nobody changes it while it is claimed.
        let loaded = self.load(&instance.project, &instance.name)?;
        let mut document = self.document(&loaded)?;
        if !snapshots {
            document.snapshots.clear();
        }
        let unusable = |error| unusable(&format!("instance {}", instance.name), &error);
        let pool = self.pool_driver(&instance.pool)?;
        let own = Volume::instance(&instance.project, &instance.name);
        if let Some(room) = room {
            let index = Index::of(backup::Content::Instance, instance.name.as_str(), pool.driver().as_str(), document);
            return Content::of_streams(index, room, &own, &moment.of(&own), (INSTANCE, SNAPSHOTS));
        }
        let ids = shifted(&loaded.instance.config).map(|map| map.host);
        let mut content = Content::of(backup::Content::Instance, instance.name.as_str(), pool.as_ref(), &document).map_err(unusable)?;
        if !document.snapshots.is_empty() {
            content.members.push(Member::Directory { name: SNAPSHOTS.into() });
        }
        for snapshot in &document.snapshots {
            content.put_instance(pool.read(&own.snapshot(&snapshot.name.parse()?))?, format!("{SNAPSHOTS}/{}", snapshot.name), ids);
        }
        content.put_instance(pool.read(&moment.of(&own))?, INSTANCE.into(), ids);
        let text = document.to_yaml().map_err(unusable)?;
        content.members.push(Member::Text { name: format!("{INSTANCE}/backup.yaml"), text });
        Ok(content)
    }

    /// All of a user's volume: its index, its snapshots if they are wanted, itself.
    fn volume_content(
        &self,
        place: &VolumePlace,
        moment: &Moment<'_>,
        snapshots: bool,
        room: Option<&Room<'_>>,
    ) -> Result<Content, EngineError> {
        let (volume, mut kept) = self.volume_snapshots(place)?;
        if !snapshots {
            kept.clear();
        }
        let document = Document::of_volume(&volume, &kept, &self.pool(&place.pool)?.pool);
        let unusable = |error| unusable(&format!("storage volume {}", volume.name), &error);
        let pool = self.pool_driver(&place.pool)?;
        if let Some(room) = room {
            let index = Index::of(backup::Content::Volume, volume.name.as_str(), pool.driver().as_str(), document);
            let own = place.volume();
            return Content::of_streams(index, room, &own, &moment.of(&own), (VOLUME, VOLUME_SNAPSHOTS));
        }
        let mut content = Content::of(backup::Content::Volume, volume.name.as_str(), pool.as_ref(), &document).map_err(unusable)?;
        if !kept.is_empty() {
            content.members.push(Member::Directory { name: VOLUME_SNAPSHOTS.into() });
        }
        for snapshot in &kept {
            let view = pool.read(&place.volume().snapshot(&snapshot.name))?;
            content.put_volume(view, format!("{VOLUME_SNAPSHOTS}/{}", snapshot.name), volume.content);
        }
        content.put_volume(pool.read(&moment.of(&place.volume()))?, VOLUME.into(), volume.content);
        Ok(content)
    }
}

impl Content {
    /// An archive that begins with its index.
    fn of(kind: backup::Content, name: &str, pool: &dyn Pool, document: &Document) -> Result<Self, BackupError> {
        let text = Index::of(kind, name, pool.driver().as_str(), document.clone()).to_yaml()?;
        Ok(Self { members: vec![Member::Text { name: INDEX.into(), text }], ..Self::default() })
    }

    /// An archive of streams: of each snapshot, then of what is backed up, each based on the one before.
    fn of_streams(
        mut index: Index,
        room: &Room<'_>,
        own: &Volume,
        last: &Volume,
        (name, snapshots): (&str, &str),
    ) -> Result<Self, EngineError> {
        let what = own.to_string();
        let unusable = |error| unusable(&what, &error);
        let header = index.optimize().map_err(unusable)?;
        let mut content = Self::default();
        content.members.push(Member::Text { name: INDEX.into(), text: index.to_yaml().map_err(unusable)? });
        content.members.extend(header.map(|text| Member::Text { name: STREAMS_HEADER.into(), text }));
        let mut sent: Vec<(Volume, String)> = Vec::new();
        for snapshot in &index.snapshots {
            sent.push((own.snapshot(&snapshot.parse()?), format!("{snapshots}/{snapshot}{STREAM_SUFFIX}")));
        }
        sent.push((last.clone(), format!("{name}{STREAM_SUFFIX}")));
        let mut base: Option<&Volume> = None;
        for (volume, name) in &sent {
            let file = files::unnamed(room.directory).map_err(|cause| EngineError::system(format!("backing up {what}"), cause))?;
            room.power.send(volume, base, file.as_fd())?;
            content.members.push(Member::Open { name: name.clone(), file: content.files.len() });
            content.files.push(file);
            base = Some(volume);
        }
        Ok(content)
    }

    /// Adds what a volume holds: only what an instance's directory may hold, whatever stands there.
    fn put_instance(&mut self, view: View, name: String, ids: Option<IdRange>) {
        self.members.push(Member::Directory { name: name.clone() });
        for (entry, ids, optional) in [("metadata.yaml", None, true), ("templates", None, true), ("rootfs", ids, false)] {
            self.put(format!("{name}/{entry}"), entry, ids, optional);
        }
        self.views.push(view);
    }

    /// Adds the files of a user's volume, or its disk.
    fn put_volume(&mut self, view: View, name: String, content: ContentType) {
        match content {
            ContentType::Filesystem => self.put(name, ".", None, false),
            ContentType::Block | ContentType::Iso => self.put(name + DISK_SUFFIX, DISK, None, false),
        }
        self.views.push(view);
    }

    /// Adds an entry of the volume that comes next.
    fn put(&mut self, name: String, entry: &str, ids: Option<IdRange>, optional: bool) {
        self.members.push(Member::Tree { name, directory: self.views.len(), entry: entry.into(), ids, optional });
    }
}

fn unusable(what: &str, error: &BackupError) -> EngineError {
    EngineError::Refused(format!("{what}: {}", coffer_base::chain(error)))
}
