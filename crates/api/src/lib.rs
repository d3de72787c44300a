//! Holds the words of the wire: LXD's REST API 1.0 as of 5.0.2, one file per resource, and the route table as data.
//!
//! Never: behaviour, validation, I/O. What arrives is read leniently (absent and `null` mean the default), what leaves is
//! written in LXD's field order with maps sorted by key.

#[macro_use]
mod wire;

mod certificate;
mod cluster;
mod event;
mod exec;
mod extensions;
mod image;
mod instance;
mod instance_backup;
mod instance_snapshot;
mod instance_state;
mod internal;
mod network;
mod network_state;
#[cfg(feature = "openapi")]
mod openapi;
mod operation;
mod preseed;
mod profile;
mod project;
mod resources;
mod resources_devices;
mod response;
pub mod routes;
mod server;
mod status;
mod storage_pool;
mod storage_volume;
mod storage_volume_backup;
mod timestamp;
mod warning;

pub use certificate::{Certificate, CertificateAddToken, CertificatePut, CertificatesPost};
pub use cluster::{Cluster, ClusterMember, ClusterMemberConfigKey, ClusterPut};
pub use event::{Event, EventGap, EventKind, Lifecycle, LifecycleRequestor, Logging};
pub use exec::{ControlMessage, InstanceConsolePost, InstanceExecPost, PipesMessage, WindowSize};
pub use extensions::EXTENSIONS;
pub use image::{
    Image, ImageAlias, ImageAliasesEntry, ImageAliasesEntryPost, ImageAliasesEntryPut, ImageAliasesPost, ImageExportPost, ImageMetadata,
    ImageMetadataTemplate, ImageOrigin, ImagePut, ImageReproducible, ImageSource, ImagesPost, ImagesPostSource,
};
pub use instance::{
    Instance, InstanceFull, InstancePost, InstancePostTarget, InstancePut, InstanceRebuildPost, InstanceSource, InstancesPost, InstancesPut,
};
pub use instance_backup::{InstanceBackup, InstanceBackupPost, InstanceBackupsPost};
pub use instance_snapshot::{InstanceSnapshot, InstanceSnapshotPost, InstanceSnapshotPut, InstanceSnapshotsPost};
pub use instance_state::{
    InstanceState, InstanceStateCpu, InstanceStateDisk, InstanceStateMemory, InstanceStateNetwork, InstanceStateNetworkAddress,
    InstanceStateNetworkCounters, InstanceStatePut, InstanceWaitPost,
};
pub use internal::{FsckFinding, RecoverPost, RecoverResult, RecoverVolume};
pub use network::{Network, NetworkLease, NetworkPost, NetworkPut, NetworksPost};
pub use network_state::{
    NetworkState, NetworkStateAddress, NetworkStateBond, NetworkStateBridge, NetworkStateCounters, NetworkStateOvn, NetworkStateVlan,
};
#[cfg(feature = "openapi")]
pub use openapi::openapi;
pub use operation::{Operation, OperationClass, OperationLogEntry};
pub use preseed::{CertificatePreseed, ClusterPreseed, ImageAliasPreseed, NetworkPreseed, Preseed, ProfilePreseed};
pub use profile::{Profile, ProfilePost, ProfilePut, ProfilesPost};
pub use project::{Project, ProjectPost, ProjectPut, ProjectState, ProjectStateResource, ProjectsPost};
pub use resources::{
    Resources, ResourcesCpu, ResourcesCpuCache, ResourcesCpuCore, ResourcesCpuSocket, ResourcesCpuThread, ResourcesLoad, ResourcesMemory,
    ResourcesMemoryNode, ResourcesSystem, ResourcesSystemChassis, ResourcesSystemFirmware, ResourcesSystemMotherboard,
};
pub use resources_devices::{
    ResourcesGpu, ResourcesGpuCard, ResourcesGpuCardDrm, ResourcesNetwork, ResourcesNetworkCard, ResourcesNetworkCardPort, ResourcesPci,
    ResourcesPciDevice, ResourcesPciVpd, ResourcesStorage, ResourcesStorageDisk, ResourcesStorageDiskPartition, ResourcesUsb,
    ResourcesUsbDevice, ResourcesUsbDeviceInterface,
};
pub use response::{Response, ResponseKind};
pub use server::{Server, ServerEnvironment, ServerPut, ServerStorageDriverInfo, ServerUntrusted};
pub use status::StatusCode;
pub use storage_pool::{
    ResourcesStoragePool, ResourcesStoragePoolInodes, ResourcesStoragePoolSpace, StoragePool, StoragePoolPut, StoragePoolsPost,
};
pub use storage_volume::{
    StorageVolume, StorageVolumePost, StorageVolumePostTarget, StorageVolumePut, StorageVolumeSnapshot, StorageVolumeSnapshotPost,
    StorageVolumeSnapshotPut, StorageVolumeSnapshotsPost, StorageVolumeSource, StorageVolumeState, StorageVolumeStateUsage,
    StorageVolumesPost,
};
pub use storage_volume_backup::{StorageVolumeBackup, StorageVolumeBackupPost, StorageVolumeBackupsPost};
pub use timestamp::Timestamp;
pub use warning::{Warning, WarningPut};
pub use wire::{null_as_default, text_map};
