package pods

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Envoy is a running one before a Set. Pods that come later are not known to it.
type Envoy struct {
	Addr string // of its listener, for gRPC and HTTP

	// Stop ends it.
	Stop func() error

	admin string        // host:port of its admin page
	ended chan struct{} // closed once it has
}

// StartEnvoy runs an Envoy (its binary's file) with a configuration of which only the
// addresses are changed: ports are free ones of loopback, the endpoints of the cluster
// "grpc" are the pods' gRPC, those of "http" their HTTP. It waits until each pod is
// healthy in Envoy's eyes.
func StartEnvoy(ctx context.Context, binary string, config []byte, s *Set) (*Envoy, error) {
	dir, err := os.MkdirTemp("", "paceline-envoy-")
	if err != nil {
		return nil, err
	}
	file, adminFile := filepath.Join(dir, "envoy.yaml"), filepath.Join(dir, "admin")
	own, err := onLoopback(config, s.Pods())
	if err == nil {
		err = os.WriteFile(file, own, 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, "-c", file, "--admin-address-path", adminFile,
		"--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warn")
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	e := &Envoy{ended: make(chan struct{})}
	go func() { defer close(e.ended); _ = cmd.Wait() }() // ended by a signal, it says so
	e.Stop = sync.OnceValue(func() error {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended
		defer time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() }).Stop()
		<-e.ended
		return os.RemoveAll(dir)
	})
	if err := e.ready(ctx, adminFile, len(s.Pods())); err != nil {
		err = errors.Join(err, e.Stop())
		return nil, fmt.Errorf("envoy: %w\n%s", err, said.String())
	}
	return e, nil
}

// Dial connects without retries.
func (e *Envoy) Dial() (*grpc.ClientConn, error) {
	return grpc.NewClient(e.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
}

// ready waits until Envoy has written where its admin page is, and counts so many
// healthy pods.
func (e *Envoy) ready(ctx context.Context, adminFile string, pods int) error {
	err := e.await(ctx, "its admin page is there", func(context.Context) bool {
		admin, err := os.ReadFile(adminFile)
		e.admin = string(admin)
		return err == nil && e.admin != ""
	})
	if err == nil {
		err = e.AwaitHealthy(ctx, pods)
	}
	if err != nil {
		return err
	}
	listeners, err := get(ctx, e.admin, "/listeners") // prompts::127.0.0.1:1234
	_, e.Addr, _ = strings.Cut(strings.TrimSpace(listeners), "::")
	return err
}

// AwaitHealthy waits until so many pods are healthy in Envoy's eyes.
func (e *Envoy) AwaitHealthy(ctx context.Context, pods int) error {
	want := fmt.Sprintf("cluster.grpc.membership_healthy: %d", pods)
	return e.await(ctx, want, func(ctx context.Context) bool {
		stats, err := get(ctx, e.admin, "/stats?filter=cluster.grpc.membership_healthy")
		return err == nil && strings.TrimSpace(stats) == want
	})
}

// await waits until a condition holds that nothing announces.
func (e *Envoy) await(ctx context.Context, what string, holds func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for !holds(ctx) {
		select {
		case <-e.ended:
			return errors.New("it ended")
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s: %w", what, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func get(ctx context.Context, admin, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+path, http.NoBody)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(res.Body)
	return string(data), err
}

// onLoopback changes the addresses of an Envoy's configuration.
func onLoopback(config []byte, all []*Pod) ([]byte, error) {
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
		cluster["load_assignment"] = object{"cluster_name": cluster["name"], "endpoints": []object{{"lb_endpoints": endpoints}}}
	}
	return yaml.Marshal(object{"admin": c.Admin, "static_resources": object{
		"listeners": c.StaticResources.Listeners, "clusters": c.StaticResources.Clusters,
	}})
}
