//! The `coffer` program, which also answers to the names `lxc` and `lxd`.

fn main() {
    coffer_cli::main()
}
