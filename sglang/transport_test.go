package sglang

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// closer is a server that answers the first request on each connection and closes the
// connection when a second begins to arrive, like a server whose keep-alive has just
// expired. Unread bytes make the kernel reset the connection.
type closer struct {
	net.Listener
	connections atomic.Int64
	running     sync.WaitGroup
	body        string
}

func serveCloser(t *testing.T, body string) *closer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &closer{Listener: listener, body: body}
	s.running.Go(s.accept)
	t.Cleanup(func() { listener.Close(); s.running.Wait() })
	return s
}

func (s *closer) accept() {
	for {
		conn, err := s.Accept()
		if err != nil {
			return
		}
		s.connections.Add(1)
		s.running.Go(func() { s.answerOnce(conn) })
	}
}

func (s *closer) answerOnce(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	req, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, req.Body)
	if s.body == "" {
		return
	}
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(s.body), s.body)
	_, _ = in.ReadByte()
}

func (s *closer) url() string { return "http://" + s.Addr().String() }

// TestCallLostToAClosingConnectionIsSentAgain takes bodies that fit into the
// socket's buffers, where the loss shows on reading, and one that does not, where
// it shows on writing.
func TestCallLostToAClosingConnectionIsSentAgain(t *testing.T) {
	const calls = 8
	for _, size := range []int{10, 256 << 10, 2 << 20} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			s := serveCloser(t, "["+element("aa", 1)+","+element("bb", 1)+"]")
			c := clientOf(t, s.url(), Options{})
			call := two()
			call.Requests[0].Text = strings.Repeat("x", size)
			for i := range calls {
				if _, err := c.Generate(t.Context(), call); err != nil {
					t.Fatalf("call %d: %v", i, err)
				}
			}
			if n := s.connections.Load(); n != calls {
				t.Errorf("%d connections, want one a call", n)
			}
		})
	}
}

// TestNewConnectionThatFailsIsNotTriedAgain keeps a prompt that ends the server
// from being sent over and over.
func TestNewConnectionThatFailsIsNotTriedAgain(t *testing.T) {
	s := serveCloser(t, "")
	if _, err := clientOf(t, s.url(), Options{}).Generate(t.Context(), two()); err == nil {
		t.Error("no error")
	}
	if n := s.connections.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}
