//! Projects.

use std::collections::BTreeMap;

wire! {
    /// A name space for instances, images, profiles, volumes and networks.
    pub struct Project {
        /// Configuration.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// Name.
        pub name: String,
        /// URLs of what lies in it.
        pub used_by: Vec<String>,
    }

    /// `PUT` (and, field by field, `PATCH`) `/1.0/projects/{name}`.
    pub struct ProjectPut {
        /// Configuration, complete.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
    }

    /// `POST /1.0/projects`.
    pub struct ProjectsPost {
        /// Configuration.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// Name.
        pub name: String,
    }

    /// `POST /1.0/projects/{name}`: rename.
    pub struct ProjectPost {
        /// New name.
        pub name: String,
    }

    /// What a project uses of what it may.
    pub struct ProjectState {
        /// By resource: `instances`, `cpu`, `memory` …
        pub resources: BTreeMap<String, ProjectStateResource>,
    }

    /// Use and limit of one resource.
    pub struct ProjectStateResource {
        /// Limit; -1 means none.
        #[serde(rename = "Limit")]
        pub limit: i64,
        /// Use.
        #[serde(rename = "Usage")]
        pub usage: i64,
    }
}

impl Project {
    /// Returns the part that `PUT` takes.
    pub fn writable(&self) -> ProjectPut {
        ProjectPut { config: self.config.clone(), description: self.description.clone() }
    }
}
