//! Generates the Rust side of the protocol definitions, without a `protoc` binary.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=flotilla");
    let descriptors = protox::compile(["flotilla/fleet.proto"], ["."])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
