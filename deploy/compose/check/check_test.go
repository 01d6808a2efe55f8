// Package check tests the compose files with compose's own loader. It is its own module
// because it needs that loader.
package check

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// load reads compose files as docker compose would.
func load(t *testing.T, profiles []string, files ...string) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions(files, cli.WithProfiles(profiles), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("%v: %v", files, err)
	}
	return p
}

const (
	observability = "../../observability/compose.yaml"
	all           = "../compose.yaml"
	gpu           = "../gpu.yaml"
)

func TestEachSetOfFilesIsWhole(t *testing.T) {
	watching := []string{"collector", "grafana", "jaeger", "prometheus"}
	for name, c := range map[string]struct {
		profiles []string
		files    []string
		services []string
	}{
		"what watches": {nil, []string{observability}, watching},
		"simulated":    {nil, []string{all}, append([]string{"proxy", "sglang"}, watching...)},
		"with load":    {[]string{"load"}, []string{all}, append([]string{"loadgen", "proxy", "sglang"}, watching...)},
		"on a GPU":     {nil, []string{all, gpu}, append([]string{"model", "proxy", "sglang"}, watching...)},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, c.profiles, c.files...)
			slices.Sort(c.services)
			names := p.ServiceNames()
			slices.Sort(names)
			if !slices.Equal(names, c.services) {
				t.Errorf("services %v, want %v", names, c.services)
			}
			for _, s := range p.Services {
				checkService(t, s)
			}
		})
	}
}

// checkService checks the parts of a service that the loader does not check.
func checkService(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	if _, tag, ok := strings.Cut(s.Image, ":"); !ok || tag == "latest" {
		t.Errorf("%s: image %q has no version", s.Name, s.Image)
	}
	for _, port := range s.Ports {
		if port.HostIP != "127.0.0.1" {
			t.Errorf("%s: port %s is open to the network", s.Name, port.Published)
		}
	}
	for _, v := range s.Volumes {
		if v.Type != types.VolumeTypeBind {
			continue
		}
		if _, err := os.Stat(v.Source); err != nil {
			t.Errorf("%s: mounts what is not there: %v", s.Name, err)
		}
		if !v.ReadOnly {
			t.Errorf("%s: may write %s", s.Name, v.Source)
		}
	}
	if strings.HasPrefix(s.Image, "localhost/paceline:") && (!s.ReadOnly || !slices.Contains(s.CapDrop, "ALL")) {
		t.Errorf("%s: runs with more rights than it needs", s.Name)
	}
}

// Otherwise Prometheus would ask the host for a proxy that is here, or scrape both.
func TestPrometheusAsksTheServicesOfTheFileItIsStartedWith(t *testing.T) {
	for file, want := range map[string][]string{
		observability: {"host.docker.internal:9464", "host.docker.internal:30000"},
		all:           {"proxy:9464", "sglang:30000"},
	} {
		var lists []string
		for _, v := range load(t, nil, file).Services["prometheus"].Volumes {
			if v.Target == "/etc/prometheus/targets.yaml" {
				lists = append(lists, v.Source)
			}
		}
		if len(lists) != 1 {
			t.Fatalf("%s: lists of targets: %v", file, lists)
		}
		text, err := os.ReadFile(lists[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range want {
			if !strings.Contains(string(text), `["`+target+`"]`) {
				t.Errorf("%s: %s has no %s", file, lists[0], target)
			}
		}
	}
}

// Compose stops what depends on another first: the proxy while its SGLang is there.
func TestTheProxyIsStoppedBeforeItsSGLangAndHasTheTimeToDrain(t *testing.T) {
	for _, files := range [][]string{{all}, {all, gpu}} {
		proxy := load(t, nil, files...).Services["proxy"]
		if _, ok := proxy.DependsOn["sglang"]; !ok {
			t.Errorf("%v: the proxy does not depend on sglang", files)
		}
		if proxy.StopGracePeriod == nil || proxy.StopGracePeriod.String() != "30s" {
			t.Errorf("%v: stop_grace_period %v", files, proxy.StopGracePeriod)
		}
	}
}

func TestOnAGPUNothingOfTheSimulatorIsLeft(t *testing.T) {
	s := load(t, nil, all, gpu).Services["sglang"]
	if s.Build != nil || slices.Contains(s.Entrypoint, "simulate") ||
		slices.ContainsFunc(s.Command, func(a string) bool { return strings.Contains(a, "-sim-") }) {
		t.Errorf("build %v, entrypoint %q, command %q", s.Build, s.Entrypoint, s.Command)
	}
	if s.Deploy == nil || len(s.Deploy.Resources.Reservations.Devices) != 1 {
		t.Error("no GPU is asked for")
	}
}
