//! Lists of volumes: users', and those that instances and images have.

use coffer_model::{
    Config, ContentType, CustomVolume, Image, Instance, InstanceSnapshot, Phase, PoolName, ProjectName, VolumeKind, VolumeSnapshot,
};
use coffer_storage::Volume;
use coffer_store::project::Feature;
use coffer_store::{Conn, StoreError, volume_snapshot};

use super::{VolumePlace, VolumeView};
use crate::error::EngineError;
use crate::request::Scope;
use crate::{Engine, used_by};

impl Engine {
    /// Lists a pool's volumes and their snapshots with their users: instances' roots, users' volumes, unpacked images.
    ///
    /// # Errors
    /// If the pool or project does not exist.
    pub fn volumes(&self, pool: &PoolName, scope: &Scope) -> Result<Vec<VolumeView>, EngineError> {
        self.pool(pool)?;
        let mut views = self.inner.store.read(|conn| {
            let mut views = self.custom_views(conn, pool, scope)?;
            let instances = coffer_store::instance::list(conn, project_of(scope))?;
            for instance in instances.into_iter().filter(|instance| instance.pool == *pool) {
                let snapshots = coffer_store::snapshot::of_instance(conn, &instance.project, &instance.name)?;
                views.push(root(instance.clone()));
                views.extend(snapshots.into_iter().map(|snapshot| root_snapshot(&instance, snapshot)));
            }
            Ok(views)
        })?;
        views.extend(self.image_views(pool, scope)?);
        Ok(views)
    }

    /// Reads one volume.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn volume(&self, pool: &PoolName, project: &ProjectName, kind: VolumeKind, name: &str) -> Result<VolumeView, EngineError> {
        let missing = || EngineError::not_found("storage volume", format!("{name} in pool {pool}"));
        self.pool(pool)?;
        match kind {
            VolumeKind::Custom => {
                let place = self.volume_place(pool, project, &name.parse()?)?;
                let volume = self.custom_volume(&place)?;
                let users = self.inner.store.read(|conn| self.volume_users(conn, &place))?;
                Ok(custom(volume, users))
            }
            VolumeKind::Container => {
                let instance = self.load(project, &name.parse()?).map_err(|_| missing())?.instance;
                if instance.pool == *pool { Ok(root(instance)) } else { Err(missing()) }
            }
            VolumeKind::Image => {
                let all = self.image_views(pool, &Scope::Project(project.clone()))?;
                all.into_iter().find(|view| view.name == name).ok_or_else(missing)
            }
        }
    }

    fn custom_views(&self, conn: &Conn, pool: &PoolName, scope: &Scope) -> Result<Vec<VolumeView>, StoreError> {
        let home = project_of(scope).map(|project| coffer_store::project::home(conn, project, Feature::Volumes)).transpose()?;
        let mut views = Vec::new();
        for volume in coffer_store::volume::list(conn, Some(pool), home.as_ref())? {
            if volume.phase == Phase::Creating {
                continue;
            }
            let users = self.volume_users(conn, &VolumePlace::of(&volume))?;
            let snapshots = volume_snapshot::list(conn, &volume)?;
            views.push(custom(volume.clone(), users));
            views.extend(snapshots.into_iter().filter(|snapshot| snapshot.phase != Phase::Creating).map(|one| of_snapshot(&volume, one)));
        }
        Ok(views)
    }

    /// The images that are unpacked in a pool. One that is not there just now has none to show.
    fn image_views(&self, pool: &PoolName, scope: &Scope) -> Result<Vec<VolumeView>, EngineError> {
        let Ok(driver) = self.pool_driver(pool) else { return Ok(Vec::new()) };
        if driver.images().is_none() {
            return Ok(Vec::new());
        }
        let images = self.inner.store.read(|conn| {
            let home = project_of(scope).map(|project| coffer_store::project::home(conn, project, Feature::Images)).transpose()?;
            coffer_store::image::list(conn, home.as_ref())
        })?;
        let unpacked = images.into_iter().filter(|image| driver.exists(&Volume::image(&image.fingerprint)).unwrap_or(false));
        Ok(unpacked.map(|image| of_image(pool, image)).collect())
    }
}

fn project_of(scope: &Scope) -> Option<&ProjectName> {
    match scope {
        Scope::Project(project) => Some(project),
        Scope::All => None,
    }
}

fn root(instance: Instance) -> VolumeView {
    VolumeView {
        used_by: vec![used_by::url("instances", &instance.project, instance.name.as_str())],
        pool: instance.pool,
        project: instance.project,
        kind: VolumeKind::Container,
        name: instance.name.to_string(),
        snapshot: None,
        description: instance.description,
        config: Config::default(),
        content: ContentType::Filesystem,
        created_at: instance.created_at,
        expires_at: None,
    }
}

fn root_snapshot(instance: &Instance, snapshot: InstanceSnapshot) -> VolumeView {
    let path = format!("instances/{}/snapshots", instance.name);
    VolumeView {
        used_by: vec![used_by::url(&path, &instance.project, snapshot.name.as_str())],
        description: String::new(),
        created_at: snapshot.created_at,
        expires_at: snapshot.expires_at,
        snapshot: Some(snapshot.name),
        ..root(instance.clone())
    }
}

fn of_image(pool: &PoolName, image: Image) -> VolumeView {
    VolumeView {
        used_by: vec![used_by::url("images", &image.project, image.fingerprint.as_str())],
        pool: pool.clone(),
        project: image.project,
        kind: VolumeKind::Image,
        name: image.fingerprint.to_string(),
        snapshot: None,
        description: String::new(),
        config: Config::default(),
        content: ContentType::Filesystem,
        created_at: image.uploaded_at,
        expires_at: None,
    }
}

fn custom(volume: CustomVolume, used_by: Vec<String>) -> VolumeView {
    VolumeView {
        pool: volume.pool,
        project: volume.project,
        kind: VolumeKind::Custom,
        name: volume.name.to_string(),
        snapshot: None,
        description: volume.description,
        config: volume.config,
        content: volume.content,
        created_at: volume.created_at,
        expires_at: None,
        used_by,
    }
}

fn of_snapshot(volume: &CustomVolume, snapshot: VolumeSnapshot) -> VolumeView {
    VolumeView {
        snapshot: Some(snapshot.name),
        description: snapshot.description,
        config: snapshot.config,
        created_at: snapshot.created_at,
        expires_at: snapshot.expires_at,
        ..custom(volume.clone(), Vec::new())
    }
}
