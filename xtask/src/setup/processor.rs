//! Which instruction sets the engine may use beyond those that `.cargo/config.toml` takes for
//! granted, and which of its kernels are fastest with them. Named one by one: leaving the choice to
//! the compiler (`target-cpu=native`) crashes the engine on processors with AMX.

use std::collections::BTreeMap;

/// With sixteen vector registers gcc spills what the engine's matrix kernels hold, unless it orders their
/// instructions by how many registers they take. Prompts go 1.3 times as fast through a processor without
/// AVX-512; other compilers do so anyway and pass over the flags.
const FEW_REGISTERS: (&str, &str) = ("CXXFLAGS", "-fschedule-insns -fsched-pressure");

/// With VNNI the kernels for weights as the file has them take a prompt 1.37 times as fast as those for weights
/// that are laid out anew (20 prompts of 113 tokens at once, quiet, by turns: 22.1 to 22.6 s against 30.1 to
/// 32.1), and the weights are in memory once, as pages of the file. One answer at a time is written
/// 0.8 times as fast; agents read far more than they write.
const AS_IN_THE_FILE: (&str, &str) = ("GGML_CPU_REPACK", "OFF");

/// The switches of the engine's build for the processor that `cpuinfo` describes.
pub(super) fn environment(cpuinfo: &str) -> BTreeMap<String, String> {
    let flags: Vec<&str> = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags"))
        .and_then(|line| line.split_once(':'))
        .map(|(_, flags)| flags.split_whitespace().collect())
        .unwrap_or_default();
    let has = |names: &[&str]| names.iter().all(|name| flags.contains(name));
    let switches: &[&str] = if has(&["avx512f", "avx512_vnni", "avx512vbmi"]) {
        &["GGML_AVX512", "GGML_AVX512_VBMI", "GGML_AVX512_VNNI"]
    } else if has(&["avx_vnni"]) {
        &["GGML_AVX_VNNI"]
    } else {
        &[]
    };
    let mut environment: BTreeMap<String, String> = switches
        .iter()
        .map(|switch| ((*switch).to_owned(), "ON".to_owned()))
        .collect();
    let mut set =
        |(name, value): (&str, &str)| environment.insert(name.to_owned(), value.to_owned());
    if switches.contains(&"GGML_AVX512_VNNI") {
        set(AS_IN_THE_FILE);
    }
    if has(&["avx2"]) && !has(&["avx512f"]) {
        set(FEW_REGISTERS);
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switches(flags: &str) -> Vec<String> {
        environment(&format!(
            "processor : 0\nflags\t\t: fpu {flags} sse\nbugs : x\n"
        ))
        .into_keys()
        .collect()
    }

    #[test]
    fn only_what_the_processor_has_is_switched_on() {
        let full = [
            "GGML_AVX512",
            "GGML_AVX512_VBMI",
            "GGML_AVX512_VNNI",
            "GGML_CPU_REPACK",
        ];
        assert_eq!(
            switches("avx2 avx512f avx512vbmi avx512_vnni avx_vnni"),
            full
        );
        assert_eq!(switches("avx2 avx512f avx512_vnni"), Vec::<String>::new());
        assert_eq!(switches("avx2 avx_vnni"), ["CXXFLAGS", "GGML_AVX_VNNI"]);
        assert_eq!(switches("avx2"), ["CXXFLAGS"]);
        assert_eq!(switches("sse4_2"), Vec::<String>::new());
        assert!(environment("").is_empty());
    }
}
