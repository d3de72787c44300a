//! Waiting for an address, by what the kernel tells of them.

use std::net::IpAddr;
use std::os::fd::AsFd;

use coffer_model::{InstanceName, ProjectName};
use coffer_sys::netlink::{Namespace, News, RouteSocket, Scope};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::Engine;
use crate::error::EngineError;

impl Engine {
    /// Waits until an instance has an address that others can reach and that `fits`.
    pub(super) async fn wait_for_address(
        &self,
        project: &ProjectName,
        name: &InstanceName,
        fits: fn(&IpAddr) -> bool,
    ) -> Result<(), EngineError> {
        let failed = |cause| EngineError::system(format!("instance {name}: listening to its addresses"), cause);
        let running = self.inner.cells.get(project, name).running()?;
        // Listening begins before the first look, so that nothing is missed between.
        let news = coffer_sys::ns::in_network(running.netns.as_fd(), News::of_addresses).map_err(failed)?;
        #[expect(
            deprecated,
            reason = "the other constructor is unsafe for what owning the socket promises anyway: it stays open and the same"
        )]
        let news = AsyncFd::with_interest(news, Interest::READABLE).map_err(failed)?;
        while !self.addresses_inside(project, name)?.iter().any(fits) {
            let mut ready = news.readable().await.map_err(failed)?;
            news.get_ref().take().map_err(failed)?;
            ready.clear_ready();
        }
        Ok(())
    }

    /// The addresses of an instance that others can reach.
    pub(super) fn addresses_inside(&self, project: &ProjectName, name: &InstanceName) -> Result<Vec<IpAddr>, EngineError> {
        let running = self.inner.cells.get(project, name).running()?;
        let list = || RouteSocket::open().and_then(|mut socket| socket.addresses(Namespace::Own));
        let addresses = coffer_sys::ns::in_network(running.netns.as_fd(), list);
        let addresses = addresses.map_err(|cause| EngineError::system(format!("instance {name}: reading its addresses"), cause))?;
        Ok(addresses.into_iter().filter(|address| address.scope == Scope::Global).map(|address| address.address).collect())
    }
}
