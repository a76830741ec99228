//! Generates the Rust side of the protocol definitions, without a `protoc` binary.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=flotilla");
    println!("cargo::rerun-if-changed=envoy");
    let files = [
        "flotilla/fleet.proto",
        "envoy/service/ext_proc/v3/external_processor.proto",
    ];
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure()
        // Bodies pass through without being copied.
        .bytes(".envoy")
        .compile_fds(descriptors)?;
    Ok(())
}
