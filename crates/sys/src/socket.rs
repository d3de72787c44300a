//! Unix sockets: descriptors passed along, peers identified.
