package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// browser is a headless Chromium with one page, driven through its pipe.
type browser struct {
	t       *testing.T
	send    *os.File
	replies chan map[string]any // of commands; events are left out
	session string
	id      int
}

// openBrowser starts Chromium, or skips the test where there is none.
func openBrowser(t *testing.T, url string) *browser {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium is installed")
	}
	in, send, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	receive, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--remote-debugging-pipe",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
		"--user-data-dir="+t.TempDir())
	cmd.ExtraFiles = []*os.File{in, out}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Skipf("Chromium did not run: %v", err)
	}
	_, _ = in.Close(), out.Close()
	b := &browser{t: t, send: send, replies: make(chan map[string]any, 1000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b.read(receive)
	}()
	t.Cleanup(func() {
		b.call("Browser.close", nil)
		_ = send.Close()
		<-read // Chromium has closed its end
		_ = receive.Close()
		cancel()
		_ = cmd.Wait()
	})
	target := b.call("Target.createTarget", map[string]any{"url": url})["targetId"]
	b.session = b.call("Target.attachToTarget", map[string]any{"targetId": target, "flatten": true})["sessionId"].(string)
	return b
}

func (b *browser) read(from *os.File) {
	defer close(b.replies)
	var rest []byte
	for buffer := make([]byte, 1<<16); ; {
		n, err := from.Read(buffer)
		rest = append(rest, buffer[:n]...)
		for {
			message, after, found := bytes.Cut(rest, []byte{0})
			if !found {
				break
			}
			var reply map[string]any
			if json.Unmarshal(message, &reply) == nil && reply["id"] != nil {
				b.replies <- reply
			}
			rest = after
		}
		if err != nil {
			return
		}
	}
}

// call makes a call of the DevTools protocol and returns its result.
func (b *browser) call(method string, params map[string]any) map[string]any {
	b.t.Helper()
	b.id++
	call := map[string]any{"id": b.id, "method": method, "params": params}
	if b.session != "" && method != "Browser.close" {
		call["sessionId"] = b.session
	}
	message, _ := json.Marshal(call)
	_, _ = b.send.Write(append(message, 0)) // a browser that has gone answers nothing
	select {
	case reply := <-b.replies:
		if reply == nil || reply["error"] != nil {
			b.t.Errorf("%s: %v", method, reply["error"])
		}
		result, _ := reply["result"].(map[string]any)
		return result
	case <-time.After(patience):
		b.t.Fatalf("%s: no answer", method)
		return nil
	}
}

// eval returns the value of an expression as text.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	result := b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true})
	if e := result["exceptionDetails"]; e != nil {
		return fmt.Sprint("exception: ", e)
	}
	value, _ := result["result"].(map[string]any)
	return fmt.Sprint(value["value"])
}

// size lays the page out in a window of this size, in CSS pixels, and in dark or light.
func (b *browser) size(width, height int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false})
	b.call("Emulation.setEmulatedMedia", map[string]any{
		"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}},
	})
}
