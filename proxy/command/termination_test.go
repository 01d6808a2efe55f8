package command

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// pod has the parts of a manifest that decide the order of a pod's end.
type pod struct {
	Grace          int         `yaml:"terminationGracePeriodSeconds"`
	InitContainers []container `yaml:"initContainers"`
	Containers     []container `yaml:"containers"`
}

type container struct {
	Name          string
	RestartPolicy string `yaml:"restartPolicy"`
	Args          []string
	Lifecycle     struct {
		PreStop struct{ Exec struct{ Command []string } } `yaml:"preStop"`
	}
}

// manifest reads the pod of a Deployment, or of a patch to one.
func manifest(t *testing.T, path string) pod {
	t.Helper()
	var d struct {
		Spec struct{ Template struct{ Spec pod } }
	}
	data, err := os.ReadFile("../../deploy/kustomize/" + path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d.Spec.Template.Spec
}

func (p pod) container(t *testing.T, name string) container {
	t.Helper()
	for _, c := range append(p.InitContainers, p.Containers...) {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no container %s", name)
	return container{}
}

// python is the base's preStop: python3 -c SCRIPT PORT LONGEST.
func python(t *testing.T) (script string, longest time.Duration) {
	t.Helper()
	command := manifest(t, "base/deployment.yaml").container(t, "sglang").Lifecycle.PreStop.Exec.Command
	if len(command) != 5 || command[0] != "python3" || command[1] != "-c" || command[3] != "9090" {
		t.Fatalf("preStop: %q", command)
	}
	n, err := strconv.Atoi(command[4])
	if err != nil {
		t.Fatal(err)
	}
	return command[2], time.Duration(n) * time.Second
}

// stopSGLang is how long SGLang may take from SIGTERM to its end.
const stopSGLang = 30 * time.Second

func TestTheGracePeriodIsLongerThanAllThatHappensInIt(t *testing.T) {
	p := manifest(t, "base/deployment.yaml")
	_, longest := python(t)
	proxy := p.container(t, "proxy")
	if proxy.RestartPolicy != "Always" {
		t.Error("the proxy is no native sidecar: it would end together with SGLang, not after it")
	}
	c, err := parseOptions(proxy.Args, nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	delay, drain := c.config.DrainDelay, c.config.DrainTimeout
	if delay == 0 || delay >= longest {
		t.Errorf("-drain-delay is %v, and preStop takes at most %v", delay, longest)
	}
	needed := longest + stopSGLang + drain
	if got := time.Duration(p.Grace) * time.Second; drain == 0 || got < needed {
		t.Errorf("terminationGracePeriodSeconds is %v, but preStop (%v), SGLang's end (%v) and the proxy's (%v) take up to %v",
			got, longest, stopSGLang, drain, needed)
	}
}

func TestTheFlagsOfTheManifestsAreAccepted(t *testing.T) {
	args := manifest(t, "base/deployment.yaml").container(t, "proxy").Args
	if _, err := parseOptions(args, nil, io.Discard); err != nil {
		t.Error(err)
	}
	command := manifest(t, "overlays/cpu-demo/simulator.yaml").container(t, "sglang").Lifecycle.PreStop.Exec.Command
	if len(command) < 4 || command[0] != "/usr/local/bin/paceline" || command[1] != "proxy" || command[2] != "drain" {
		t.Fatalf("preStop: %q", command)
	}
	if _, err := adminCommands["drain"].parse("drain", command[3:], io.Discard); err != nil {
		t.Error(err)
	}
}

// The order in which Kubernetes ends a pod with a native sidecar: SGLang's preStop; when
// that has ended SIGTERM to SGLang; when that has ended SIGTERM to the proxy.
func TestAnEndingPodAnswersWhatItAcceptedAndTheProxyEndsLast(t *testing.T) {
	script, longest := python(t)
	preStops := map[string]func(admin string) error{
		"proxy drain": func(admin string) error {
			return failed(run([]string{"drain", "-admin", admin}, nil, io.Discard, io.Discard, nil))
		},
		"Python, as in SGLang's image": func(admin string) error {
			_, port, _ := net.SplitHostPort(admin)
			cmd := exec.CommandContext(t.Context(), "python3", "-c", script, port, strconv.Itoa(int(longest.Seconds())))
			cmd.Stderr = os.Stderr
			return cmd.Run()
		},
	}
	for name, preStop := range preStops {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "Python") {
				if _, err := exec.LookPath("python3"); err != nil {
					t.Skip("no python3 here")
				}
			}
			endPod(t, preStop)
		})
	}
}

// Where admin is reached from beyond the pod it asks for a key, of preStop, too.
func TestThePreStopOfSGLangsImageBringsTheKeyThatItIsGiven(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3 here")
	}
	const key = "0123456789abcdef-ops"
	keys := filepath.Join(t.TempDir(), "keys.yaml")
	if err := os.WriteFile(keys, []byte("- {name: ops, key: "+key+", admin: true}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, startSlowSGLang(t).url, "-admin", "0.0.0.0:0", "-keys", keys)
	_, port, _ := net.SplitHostPort(p.line("listening")["admin"].(string))
	p.line("ready")
	script, _ := python(t)
	for brought, well := range map[string]bool{"": false, "another-" + key: false, key: true} {
		cmd := exec.CommandContext(t.Context(), "python3", "-c", script, port, "20")
		cmd.Env = append(os.Environ(), "PACELINE_ADMIN_KEY="+brought)
		if err := cmd.Run(); (err == nil) != well {
			t.Errorf("with the key %q: %v", brought, err)
		}
	}
	p.signals <- syscall.SIGTERM
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func endPod(t *testing.T, preStop func(admin string) error) {
	s := startSlowSGLang(t)
	p := startProcess(t, s.url, "-batch-size", "1", "-max-in-flight", "1")
	listening := p.line("listening")
	rest, admin := listening["http"].(string), listening["admin"].(string)
	p.line("ready")
	inFlight := ask(rest)
	<-s.asked
	waiting := ask(rest)
	awaitStatus(t, admin, `"accepted":"2"`)

	stopped := make(chan error, 1)
	go func() { stopped <- preStop(admin) }()
	awaitStatus(t, admin, `"draining":true`)
	if got := <-ask(rest); got != http.StatusServiceUnavailable {
		t.Errorf("a request after the drain began got %d", got)
	}
	select {
	case err := <-stopped:
		t.Fatalf("preStop ended (%v) while two requests were not answered: SGLang would be stopped now", err)
	default:
	}
	s.answer()
	if err := <-stopped; err != nil {
		t.Errorf("preStop: %v", err)
	}
	// What was accepted has been answered when preStop says so: SGLang may go.
	if a, b := <-inFlight, <-waiting; a != http.StatusOK || b != http.StatusOK {
		t.Errorf("the accepted requests got %d and %d", a, b)
	}
	s.stop()
	select {
	case code := <-p.code:
		t.Fatalf("the proxy ended (%d) before its own SIGTERM", code)
	default:
	}
	p.signals <- syscall.SIGTERM
	if code := p.wait(); code != exitOK {
		t.Errorf("the proxy's exit code: %d", code)
	}
}

func failed(code int) error {
	if code == exitOK {
		return nil
	}
	return &exec.Error{Name: "proxy drain", Err: syscall.Errno(code)}
}

// awaitStatus waits until the proxy's status holds a text.
func awaitStatus(t *testing.T, admin, text string) {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		res, err := client.Get("http://" + admin + "/v1/admin/status")
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err == nil && bytes.Contains(bytes.ReplaceAll(data, []byte(" "), nil), []byte(text)) {
			return
		}
	}
	t.Fatalf("the status never had %s", text)
}
