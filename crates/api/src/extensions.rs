//! The API extensions this server announces.

/// Names of everything beyond API 1.0 that this server does.
///
/// Announcing one is a promise and a switch: clients change what they send. A name stands here only once the server
/// behaves as LXD documents it. The three extensions that turn sync calls into async ones
/// (`storage_and_profile_operations`, `storage_and_network_operations`, `project_delete_operation`) must never stand here:
/// 5.0 clients break on them.
pub const EXTENSIONS: &[&str] = &[
    // Protocol.
    "etag",
    "patch",
    "api_filtering",
    "entity_description",
    "operation_description",
    "event_lifecycle",
    "event_location",
    "event_project",
    "usedby_consistency",
    "profile_usedby",
    "api_os",
    // Instances.
    "instances",
    "container_full",
    "instance_get_full",
    "instance_all_projects",
    "instance_bulk_state_change",
    "instance_create_start",
    "container_last_used_at",
    "container_image_properties",
    "container_cpu_time",
    "container_stop_priority",
    "container_host_shutdown_timeout",
    "container_protection_delete",
    "container_backup",
    "container_backup_override_pool",
    "backup_override_name",
    "backup_compression",
    "backup_compression_algorithm",
    "container_protection_shift",
    "container_edit_metadata",
    "restrict_devlxd",
    "devlxd_events",
    "devlxd_images",
    "instance_ready_state",
    "cloud_init",
    "image_types",
    // Snapshots.
    "snapshot_expiry",
    "snapshot_expiry_creation",
    "snapshot_scheduling",
    "snapshot_schedule_aliases",
    // Copies and moves on this server.
    "container_only_migration",
    "container_incremental_copy",
    "container_copy_project",
    "instance_allow_inconsistent_copy",
    "instance_pool_move",
    "instance_project_move",
    "instances_rebuild",
    // Exec and console.
    "container_exec_recording",
    "container_exec_signal_handling",
    "container_exec_user_group_cwd",
    "console",
    // Files.
    "directory_manipulation",
    "file_delete",
    "file_append",
    "file_symlinks",
    "file_get_symlink",
    "instance_file_head",
    // Isolation and limits.
    "id_map",
    "id_map_base",
    "id_map_current",
    "container_syscall_filtering",
    "container_syscall_intercept",
    "container_syscall_intercept_mount",
    "container_syscall_intercept_hugetlbfs",
    "container_syscall_intercept_sched_setscheduler",
    "resource_limits",
    "kernel_limits",
    "kernel_features",
    "lxc_features",
    // Images.
    "image_compression_algorithm",
    "image_create_aliases",
    "image_copy_profile",
    "image_force_refresh",
    "image_profiles",
    "images_expiry",
    "images_push_relay",
    "compression_squashfs",
    // Networks.
    "network",
    "network_state",
    "network_state_bond_bridge",
    "network_leases",
    "network_leases_location",
    "network_dhcp_expiry",
    "network_dhcp_gateway",
    "network_dns_search",
    "network_hwaddr",
    "network_nat_order",
    "network_nat_address",
    "network_routes",
    "network_firewall_filtering",
    "instance_nic_network",
    "instance_nic_bridged_port_isolation",
    // Devices.
    "container_disk_shift",
    "gpu_devices",
    "unix_device_rename",
    "unix_device_hotplug",
    "unix_hotplug_devices",
    "usb_devices",
    "usb_optional_vendorid",
    "proxy",
    "proxy_unix",
    "proxy_udp",
    "proxy_tcp_udp_multi_port_handling",
    "proxy_unix_dac_properties",
    "proxy_haproxy_protocol",
    "proxy_nat",
    "unix_priv_drop",
    "container_nic_ipfilter",
    "firewall_driver",
    // Storage.
    "storage",
    "storage_volatile_initial_source",
    "storage_btrfs_mount_options",
    "storage_driver_ceph",
    "storage_ceph_user_name",
    "storage_ceph_force_osd_reuse",
    "storage_ceph_features",
    "ceph_rbd_du",
    "server_supported_storage_drivers",
    "storage_volumes_all_projects",
    "storage_volume_api_filtering",
    "storage_volume_state",
    "storage_volume_state_total",
    "storage_api_volume_rename",
    "storage_api_volume_snapshots",
    "storage_api_local_volume_handling",
    "storage_api_project",
    "storage_volume_project_move",
    "storage_shifted",
    "storage_unmapped",
    "custom_volume_backup",
    "custom_volume_iso",
    "custom_volume_refresh",
    "custom_block_volumes",
    "custom_volume_snapshot_expiry",
    "volume_snapshot_scheduling",
    "resources",
    "resources_v2",
    // Projects.
    "projects",
    "project_usage",
    // Trust.
    "certificate_update",
    "certificate_token",
    "explicit_trust_token",
    "remote_token_expiry",
    "warnings",
    // Watching.
    "metrics",
    "metrics_authentication",
    "metrics_cpu_seconds",
    // Preparing a server.
    "init_preseed",
];

#[cfg(test)]
mod tests {
    use super::EXTENSIONS;

    #[test]
    fn each_extension_stands_once() {
        let mut names = EXTENSIONS.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), EXTENSIONS.len());
    }

    #[test]
    fn nothing_that_breaks_old_clients_is_announced() {
        for name in ["storage_and_profile_operations", "storage_and_network_operations", "project_delete_operation", "virtual-machines"] {
            assert!(!EXTENSIONS.contains(&name), "{name}");
        }
    }
}
