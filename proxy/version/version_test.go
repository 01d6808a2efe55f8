package version

import (
	"runtime/debug"
	"testing"
)

func TestABuildTellsItsVersionCommitAndDate(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123abcd"}, {Key: "vcs.time", Value: "2026-11-27T10:00:00Z"}, {Key: "vcs.modified", Value: "false"},
	}}
	if got, want := full(info), "v1.2.3, commit 0123abcd, 2026-11-27T10:00:00Z, go1.26.0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	info.Settings[2].Value = "true"
	if got, want := full(info), "v1.2.3, commit 0123abcd, 2026-11-27T10:00:00Z, files changed, go1.26.0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := full(&debug.BuildInfo{GoVersion: "go1.26.0"}), "unknown, go1.26.0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
