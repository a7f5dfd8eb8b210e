package config

import "runtime/debug"

// release is set by the Makefile: git describe of what was built.
var release string

// Version says which release a binary is: what the Makefile set, else what the
// Go command knew of the module and its commit.
func Version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " (" + s.Value[:min(12, len(s.Value))] + ")"
		}
	}
	return v
}
