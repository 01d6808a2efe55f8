package scaleout

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "paceline/proto/paceline/v1"
)

func withHTTP(_ int, o *podOptions) { o.Proxy.HTTP = "127.0.0.1:0" }

// Envoy names the cluster as the host by default, which a proxy on loopback refuses.
func TestAProxyOnLoopbackAnswersTheHealthCheckOfEnvoysConfiguration(t *testing.T) {
	config, err := os.ReadFile("envoy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	check := regexp.MustCompile(`http_health_check: \{host: (\S+), path: ([^}]+)\}`).FindSubmatch(config)
	if check == nil {
		t.Fatal("envoy.yaml has no HTTP health check with a host")
	}
	addr := startPods(t, 1, withHTTP).Pods()[0].Proxy.HTTPAddr()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+string(check[2]), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = string(check[1])
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestEnvoySendsPromptsOfOneKeyToOnePod(t *testing.T) {
	binary := envoyBinary(t)
	set := startPods(t, 3, withHTTP)
	conn := startEnvoy(t, binary, set).dial(t)
	took := map[*pod]int{}
	for _, p := range homes(t, set, pb.NewPrefillServiceClient(conn), 60, 4) {
		took[p]++
	}
	if len(took) != 3 {
		t.Errorf("60 keys went to %d of 3 pods", len(took))
	}
}

func TestEnvoySendsGenerateOfOneKeyToOnePod(t *testing.T) {
	binary := envoyBinary(t)
	set := startPods(t, 3, withHTTP)
	e := startEnvoy(t, binary, set)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	all := set.Pods()
	for key := range 20 {
		before := requests(all)
		for i := range 3 {
			body, err := json.Marshal(map[string]any{"input_ids": []int{key, i, 5}, "sampling_params": map[string]int{"max_new_tokens": 0}})
			if err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+e.Addr+"/generate", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set(keyHeader, strconv.Itoa(key))
			res, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Fatalf("status %d", res.StatusCode)
			}
		}
		if took := fmt.Sprint(since(before, requests(all))); took != "[3 0 0]" && took != "[0 3 0]" && took != "[0 0 3]" {
			t.Errorf("key %d: the pods took %s", key, took)
		}
	}
}

// Envoy hears of the end by its own health check, two seconds late: as long as that
// -drain-delay must last.
func TestEnvoyFailsNoRequestWhenPodsDrainWithADelay(t *testing.T) {
	binary := envoyBinary(t)
	set := startPods(t, 3, func(pod int, o *podOptions) {
		withHTTP(pod, o)
		if pod < 2 { // the last one stays
			o.Proxy.Admin, o.Proxy.DrainDelay, o.Proxy.DrainTimeout = "127.0.0.1:0", patience, 2*patience
		}
	})
	e := startEnvoy(t, binary, set)
	conn := e.dial(t)
	load := send(t, pb.NewPrefillServiceClient(conn), 16)
	for i, p := range set.Pods()[:2] {
		load.more(t, 200)
		drain(t, p)
		e.awaitHealthy(t, "grpc", 2-i)
		if err := p.Stop(); err != nil { // the drain is under way: there is no second delay
			t.Error(err)
		}
	}
	load.more(t, 200)
	load.stop()
	if failed := load.failed(); len(failed) > 0 {
		t.Errorf("%d requests failed and %d were answered; the first: %v", len(failed), load.answered.Load(), failed[0])
	}
}

// drain has a pod say NOT_SERVING, as a preStop hook does. Its delay does not pass.
func drain(t *testing.T, p *pod) {
	t.Helper()
	conn, err := grpc.NewClient(p.Proxy.AdminAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = pb.NewAdminServiceClient(conn).Drain(context.WithoutCancel(t.Context()), &pb.DrainRequest{}) // ends with the pod
	}()
	t.Cleanup(func() { _ = conn.Close(); <-ended })
}
