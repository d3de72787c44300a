//! Projects.

use coffer_api::{Project, ProjectPost, ProjectPut, ProjectState, ProjectsPost};
use hyper::Method;

use crate::{ApiPath, Client, ClientError, Pending, Tagged};

impl Client {
    /// Lists projects.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn projects(&self) -> Result<Vec<Project>, ClientError> {
        self.get(ApiPath::new("/1.0/projects").query("recursion", "1")).await
    }

    /// Reads a project.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn read_project(&self, name: &str) -> Result<Tagged<Project>, ClientError> {
        self.get_tagged(project_path(name)).await
    }

    /// Reads what a project uses of what it may.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn project_state(&self, name: &str) -> Result<ProjectState, ClientError> {
        self.get(project_path(name).then("state")).await
    }

    /// Makes a project.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn create_project(&self, project: &ProjectsPost) -> Result<(), ClientError> {
        self.change(Method::POST, ApiPath::new("/1.0/projects"), Some(project), "").await.map(drop)
    }

    /// Replaces a project's configuration.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn update_project(&self, name: &str, project: &ProjectPut, etag: &str) -> Result<(), ClientError> {
        self.change(Method::PUT, project_path(name), Some(project), etag).await.map(drop)
    }

    /// Renames a project.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn rename_project(&self, name: &str, new_name: &str) -> Result<Pending, ClientError> {
        self.begin(Method::POST, project_path(name), Some(&ProjectPost { name: new_name.to_owned() }), "").await
    }

    /// Deletes a project.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_project(&self, name: &str) -> Result<(), ClientError> {
        self.change::<()>(Method::DELETE, project_path(name), None, "").await.map(drop)
    }
}

fn project_path(name: &str) -> ApiPath {
    ApiPath::new("/1.0/projects").segment(name)
}
