//! What is done with instances that nobody asks for at that moment: starting them again, in order, when others are ready;
//! looking after their health; waiting for them.

pub(crate) mod autorestart;
mod boot;
mod budget;
mod depends;
mod health;
mod probe;
mod wait;
mod wait_cloud_init;
mod wait_network;

pub(crate) use boot::stop_steps;
pub use wait::TIMED_OUT;
