//! Publishing an instance or a snapshot as an image.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_base::{Progress, fault};
use coffer_image::{Arrived, Compressor, Incoming, Member, Metadata, PackRequest, Parts};
use coffer_model::entity::ImageForm;
use coffer_model::{Config, IdMap, Image, Instance, ProjectName, Status, Time};
use coffer_storage::Volume;
use coffer_store::project::Feature;
use coffer_sys::path::Root;

use crate::Engine;
use crate::backup::Held;
use crate::backup::moment::Moment;
use crate::error::EngineError;
use crate::events::Caller;
use crate::instance::metadata::metadata_in;
use crate::operations::{NewOperation, OperationHandle, OperationView};
use crate::request::PublishImage;

/// The stage under which packing reports its progress.
const STAGE: &str = "create_image_from_container_pack";

/// Bytes on their way from the packer to the disk.
const PIPE: usize = 1 << 20;

impl Engine {
    /// Makes an image of a stopped instance or a snapshot in an operation, whose metadata ends with `fingerprint` and `size`.
    ///
    /// # Errors
    /// If there is no such instance or snapshot, the instance runs, the compression is unknown, or an alias is taken.
    pub fn publish_image(&self, caller: &Caller, project: &ProjectName, request: PublishImage) -> Result<OperationView, EngineError> {
        let instance = match &request.snapshot {
            Some(snapshot) => self.load_snapshot(project, &request.instance, snapshot)?.0.instance,
            None => self.load(project, &request.instance)?.instance,
        };
        if request.snapshot.is_none() {
            self.require_stopped(&instance)?;
        }
        let compressor = self.compressor(request.compressor, "images.compression_algorithm")?;
        let home = self.inner.store.try_read(|conn| {
            let home = coffer_store::project::home(conn, project, Feature::Images)?;
            for (name, _) in &request.aliases {
                if coffer_store::alias::get(conn, &home, name)?.is_some() {
                    return Err(EngineError::exists("image alias", name));
                }
            }
            Ok::<_, EngineError>(home)
        })?;
        let new = NewOperation::instance("Publishing instance", project, instance.name.as_str());
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            let claim = engine.inner.cells.get(&instance.project, &instance.name).claim_beside_readers("publishing")?;
            if request.snapshot.is_none() {
                engine.require_stopped(&instance)?;
            }
            let held = Held::Instance(claim, instance);
            let moment = match &request.snapshot {
                Some(snapshot) => Moment::Kept(held, snapshot.clone()),
                None => engine.moment_of(held)?,
            };
            engine.publish(moment, &home, &request, compressor, operation, &caller)
        }))
    }

    fn require_stopped(&self, instance: &Instance) -> Result<(), EngineError> {
        let cell = self.inner.cells.get(&instance.project, &instance.name);
        match cell.status() {
            Status::Stopped => Ok(()),
            status => Err(cell.wrong_state(status, "it can be published only when it is stopped (or with --force); or publish a snapshot")),
        }
    }

    /// The compressor that was asked for, or the one that a key of the server names.
    pub(crate) fn compressor(&self, wanted: Option<Compressor>, key: &str) -> Result<Compressor, EngineError> {
        match wanted {
            Some(compressor) => Ok(compressor),
            None => {
                let config = self.server_config()?;
                let text = config.get(key).unwrap_or("gzip");
                text.parse().map_err(|error: coffer_image::pack::UnknownCompressor| EngineError::Refused(format!("{key}: {error}")))
            }
        }
    }

    fn publish(
        &self,
        mut moment: Moment<'_>,
        home: &ProjectName,
        request: &PublishImage,
        compressor: Compressor,
        operation: &OperationHandle,
        caller: &Caller,
    ) -> Result<(), EngineError> {
        let Held::Instance(_, instance) = moment.held() else {
            return Err(EngineError::Refused("only instances and their snapshots can be published".into()));
        };
        let instance = instance.clone();
        let volume = moment.of(&Volume::instance(&instance.project, &instance.name));
        let directory = self.pool_driver(&instance.pool)?.read(&volume)?;
        moment.share();
        let metadata = self.published_metadata(&instance, directory.as_fd(), request)?;
        let text = metadata.to_yaml().map_err(coffer_image::UnpackError::from)?;
        let tree = |entry: &str, ids, optional| Member::Tree { name: entry.into(), directory: 0, entry: entry.into(), ids, optional };
        let ids = shifted(&instance.config);
        let about = [Member::Text { name: "metadata.yaml".into(), text }, tree("templates", None, true)];
        let rootfs = tree("rootfs", ids.map(|map| map.host), false);
        let packing = Packing { directory: directory.as_fd(), compressor, epoch: request.reproducible.map(|same| same.epoch) };
        let arrived = operation.cancellable(|| {
            let progress = operation.progress();
            if request.reproducible.is_some_and(|same| same.split) {
                return self.pack_image(&[&about, &[at_top(rootfs)]], &packing, &progress);
            }
            let [metadata, templates] = about;
            self.pack_image(&[&[metadata, templates, rootfs]], &packing, &progress)
        })?;
        fault::point("publish.packed").map_err(|cause| EngineError::system("publishing", cause))?;
        let image = published(&arrived, &metadata, home.clone(), request);
        if request.reproducible.is_some() && self.has_image(&image)? {
            // The same files make the same image, which is then what was asked for.
            operation.set_metadata("fingerprint", image.fingerprint.as_str());
            operation.set_metadata("size", image.size.to_string());
            return Ok(());
        }
        self.keep_image(arrived, &image, &request.aliases, operation, caller)
    }

    /// What the image will say of itself: what the instance's own image said, and what the request adds.
    fn published_metadata(&self, instance: &Instance, directory: BorrowedFd<'_>, request: &PublishImage) -> Result<Metadata, EngineError> {
        let failed = |cause| EngineError::system(format!("instance {}: opening its volume", instance.name), cause);
        let volume = directory.try_clone_to_owned().map(Root::from_fd).and_then(|root| root.strict()).map_err(failed)?;
        let mut metadata = metadata_in(instance, &volume)?;
        metadata.creation_date = request.reproducible.map_or_else(|| Time::now().as_second(), |same| same.epoch);
        metadata.expiry_date = request.expires_at.map(Time::as_second);
        if !request.properties.0.is_empty() {
            metadata.properties = request.properties.0.clone();
        }
        Ok(metadata)
    }

    fn has_image(&self, image: &Image) -> Result<bool, EngineError> {
        Ok(self.inner.store.read(|conn| coffer_store::image::get(conn, &image.project, &image.fingerprint))?.is_some())
    }

    /// Packs into files of the images directory that have no names yet, one for each list of members, hashing on the way.
    fn pack_image(&self, files: &[&[Member]], packing: &Packing<'_>, progress: &Progress) -> Result<Arrived, EngineError> {
        let images = self.images_directory()?;
        let mut incoming = Incoming::begin(images.as_fd(), None, None, Progress::default())?;
        for (number, members) in files.iter().enumerate() {
            if number > 0 {
                incoming.begin_rootfs()?;
            }
            incoming = self.pack_file(members, packing, incoming, progress)?;
        }
        Ok(incoming.finish()?)
    }

    fn pack_file(
        &self,
        members: &[Member],
        packing: &Packing<'_>,
        incoming: Incoming,
        progress: &Progress,
    ) -> Result<Incoming, EngineError> {
        let piped = |errno: rustix::io::Errno| EngineError::system("making a pipe for the image", errno);
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(piped)?;
        // A smaller one works as well, only slower.
        let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE);
        let (packed, taken) = std::thread::scope(|scope| {
            let taken = scope.spawn(move || drain(reader, incoming));
            let request = PackRequest {
                members,
                directories: &[packing.directory],
                files: &[],
                compressor: packing.compressor,
                reproducible: packing.epoch,
                output: writer.as_fd(),
                stage: STAGE,
            };
            let packed = self.inner.unpacker.pack(&request, progress);
            drop(writer);
            (packed, taken.join())
        });
        // A full disk ends the packer too, and is the better reason.
        let incoming = taken.map_err(|_| EngineError::system("receiving the image", std::io::ErrorKind::Other))??;
        packed?;
        Ok(incoming)
    }
}

/// How the files of an image are written.
struct Packing<'a> {
    /// The instance's volume.
    directory: BorrowedFd<'a>,
    compressor: Compressor,
    /// The latest time of a file, in an image that is the same whenever it is made.
    epoch: Option<i64>,
}

/// The root file system as the whole content of an archive.
fn at_top(rootfs: Member) -> Member {
    match rootfs {
        Member::Tree { directory, entry, ids, optional, .. } => Member::Tree { name: ".".into(), directory, entry, ids, optional },
        Member::Text { .. } | Member::Directory { .. } | Member::Open { .. } => rootfs,
    }
}

/// Takes in what the packer writes until it closes its end.
fn drain(reader: OwnedFd, mut incoming: Incoming) -> Result<Incoming, EngineError> {
    let mut buffer = vec![0; PIPE];
    loop {
        match rustix::io::read(&reader, &mut buffer[..]) {
            Ok(0) => return Ok(incoming),
            Ok(count) => incoming.write(&buffer[..count])?,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(EngineError::system("receiving the image", errno)),
        }
    }
}

/// The id map that the files on disk were given, where mounts cannot map ids.
pub(crate) fn shifted(config: &Config) -> Option<IdMap> {
    config.get("volatile.last_state.idmap").and_then(IdMap::from_volatile)
}

fn published(arrived: &Arrived, metadata: &Metadata, project: ProjectName, request: &PublishImage) -> Image {
    Image {
        project,
        fingerprint: arrived.fingerprint().clone(),
        filename: request.filename.clone(),
        size: arrived.size(),
        public: request.public,
        auto_update: false,
        cached: false,
        architecture: metadata.architecture.to_string(),
        properties: metadata.properties.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        profiles: request.profiles.clone(),
        created_at: Time::from_second(metadata.creation_date).ok(),
        expires_at: request.expires_at,
        last_used_at: None,
        uploaded_at: Time::now(),
        form: match arrived.parts() {
            Parts::Unified => ImageForm::Unified,
            Parts::Split => ImageForm::Split,
        },
    }
}
