package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"paceline/deploy/observability"
)

// version is that of the module in ../jaeger: v1.76.0 there is 2.13.0.
const version = "2.13.0"

// jaegerBinary returns the file of Jaeger: the named one, or one that it builds into the
// user's cache.
func jaegerBinary(ctx context.Context, named string, w io.Writer) (string, error) {
	if named != "" {
		_, err := os.Stat(named)
		return named, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(cache, "paceline", "jaeger-"+version)
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	module := filepath.Join("deploy", "observability", "jaeger")
	if _, err := os.Stat(module); err != nil {
		return "", errors.New("run it from the root of the repository, or name a Jaeger with -jaeger")
	}
	printf(w, "building Jaeger %s into %s: about five minutes, once\n", version, binary)
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-C", module, "-trimpath", "-ldflags", "-s -w", "-o", binary,
		"github.com/jaegertracing/jaeger/cmd/jaeger")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build Jaeger: %w", err)
	}
	return binary, nil
}

// addresses are the host:port of Jaeger's listeners.
type addresses struct{ page, grpc, http string }

// jaeger is a running Jaeger.
type jaeger struct {
	addresses
	cmd    *exec.Cmd
	config string
	ended  chan error
}

// startJaeger runs Jaeger until stop, and waits until it answers.
func startJaeger(ctx context.Context, binary string, a addresses) (*jaeger, error) {
	config, err := observability.Files.ReadFile("jaeger.yaml")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "paceline-jaeger-")
	if err != nil {
		return nil, err
	}
	j := &jaeger{addresses: a, config: dir, ended: make(chan error, 1)}
	file := filepath.Join(dir, "jaeger.yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "jaeger.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the process has its own
	j.cmd = exec.CommandContext(context.WithoutCancel(ctx), binary, "--config", "file:"+file)
	j.cmd.Env = append(os.Environ(),
		"JAEGER_PAGE="+a.page, "JAEGER_QUERY_GRPC=127.0.0.1:0", "JAEGER_OTLP_GRPC="+a.grpc, "JAEGER_OTLP_HTTP="+a.http)
	j.cmd.Stdout, j.cmd.Stderr = log, log
	if err := j.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { j.ended <- j.cmd.Wait() }()
	if err := j.ready(ctx); err != nil {
		said, _ := os.ReadFile(log.Name())
		j.stop()
		return nil, fmt.Errorf("jaeger did not start: %w\n%s", err, said)
	}
	return j, nil
}

// answers reports whether a Jaeger answers at the address of the page.
func (j *jaeger) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return j.get(ctx, "/api/services", &struct{}{}) == nil
}

func (j *jaeger) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if j.answers(ctx) {
			return nil
		}
		select {
		case err := <-j.ended:
			j.ended <- err
			return fmt.Errorf("it ended: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// stop ends Jaeger and deletes its data.
func (j *jaeger) stop() {
	http.DefaultClient.CloseIdleConnections() // Jaeger would wait for them
	_ = j.cmd.Process.Signal(syscall.SIGTERM)
	defer time.AfterFunc(10*time.Second, func() { _ = j.cmd.Process.Kill() }).Stop()
	<-j.ended //nolint:errcheck // the error says that a signal stopped it
	_ = os.RemoveAll(j.config)
}

func (j *jaeger) url() string { return "http://" + j.page }
