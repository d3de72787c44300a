//! Profiles.

use std::collections::BTreeMap;

wire! {
    /// A set of configuration and devices that instances share.
    pub struct Profile {
        /// Configuration.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// Devices.
        pub devices: BTreeMap<String, BTreeMap<String, String>>,
        /// Name.
        pub name: String,
        /// URLs of the instances that use it.
        pub used_by: Vec<String>,
    }

    /// `PUT` (and, field by field, `PATCH`) `/1.0/profiles/{name}`.
    pub struct ProfilePut {
        /// Configuration, complete.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// Devices, complete.
        pub devices: BTreeMap<String, BTreeMap<String, String>>,
    }

    /// `POST /1.0/profiles`.
    pub struct ProfilesPost {
        /// Configuration.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// Devices.
        pub devices: BTreeMap<String, BTreeMap<String, String>>,
        /// Name.
        pub name: String,
    }

    /// `POST /1.0/profiles/{name}`: rename.
    pub struct ProfilePost {
        /// New name.
        pub name: String,
    }
}

impl Profile {
    /// Returns the part that `PUT` takes.
    pub fn writable(&self) -> ProfilePut {
        ProfilePut { config: self.config.clone(), description: self.description.clone(), devices: self.devices.clone() }
    }
}
