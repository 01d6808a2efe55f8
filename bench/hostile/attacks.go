package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	pb "paceline/proto/paceline/v1"
)

// victim is a proxy under attack.
type victim struct {
	grpc, http string
	network    *rate.Limiter // bytes that all attackers send
	sent       atomic.Int64  // bytes
}

// attack runs the attacks of o until ctx ends, and prints how often each was tried.
func attack(ctx context.Context, o options) error {
	v := &victim{grpc: o.grpc, http: o.http, network: rate.NewLimiter(rate.Limit(o.network), writeSize)}
	names := strings.Split(o.attacks, ",")
	tries := make([]atomic.Int64, len(names))
	began := time.Now()
	var running sync.WaitGroup
	for i := range o.n {
		once := attacks[names[i%len(names)]]
		if once == nil {
			return fmt.Errorf("unknown attack %q", names[i%len(names)])
		}
		running.Go(func() {
			for ctx.Err() == nil {
				once(ctx, v)
				tries[i%len(names)].Add(1)
				select {
				case <-ctx.Done():
				case <-time.After(o.pause):
				}
			}
		})
	}
	running.Wait()
	for i, name := range names {
		fmt.Printf("%s: %d tries\n", name, tries[i].Load())
	}
	fmt.Printf("sent: %.0f MB/s\n", float64(v.sent.Load())/1e6/time.Since(began).Seconds())
	return nil
}

// attacks run until the proxy ends them, or ctx does.
var attacks = map[string]func(context.Context, *victim){
	"bodies": func(ctx context.Context, v *victim) { // a body of 60 MiB stops after 20
		v.post(ctx, "/generate", `{"text":"`, "x", 20<<20, 60<<20)
	},
	"lists": func(ctx context.Context, v *victim) {
		const n = 500_000
		v.post(ctx, "/generate", `{"sampling_params":{"max_new_tokens":0},"text":["a"`, `,"a"`, 4*n, 0)
	},
	"ids": func(ctx context.Context, v *victim) {
		v.post(ctx, "/v1/completions", `{"model":"m","prompt":[1`, ",1", 60<<20, 0)
	},
	"messages": func(ctx context.Context, v *victim) { // begins two messages of 30 MiB and stops after 20 MiB in all
		conn, err := v.client(20 << 20)
		if err != nil {
			return
		}
		defer conn.Close() //nolint:errcheck // nothing is lost
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var calls sync.WaitGroup
		for range 2 {
			calls.Go(func() {
				_, _ = pb.NewPrefillServiceClient(conn).Prefill(ctx, new(pb.PrefillRequest), grpc.ForceCodecV2(largeMessage{}))
				cancel()
			})
		}
		calls.Wait()
	},
	"readers": func(ctx context.Context, v *victim) { // a stream that is never read
		conn, err := v.client(1 << 40)
		if err != nil {
			return
		}
		defer conn.Close() //nolint:errcheck // nothing is lost
		s, err := pb.NewPrefillServiceClient(conn).PrefillStream(ctx)
		for i := 0; err == nil; i++ {
			err = s.Send(&pb.PrefillStreamRequest{Request: &pb.PrefillRequest{RequestId: strconv.Itoa(i), CacheSalt: zeros}})
		}
		<-ctx.Done()
	},
}

var zeros = strings.Repeat("0", 1<<10)

// largeMessage is a codec whose messages are all the same one of 30 MiB, made once.
type largeMessage struct{}

var encoded, _ = proto.Marshal(&pb.PrefillRequest{Text: strings.Repeat("0", 30<<20)})

func (largeMessage) Marshal(any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(encoded)}, nil
}
func (largeMessage) Unmarshal(mem.BufferSlice, any) error { return nil }
func (largeMessage) Name() string                         { return "proto" }

// writeSize is the max bytes that are written at once.
const writeSize = 64 << 10

// hostileConn sends no faster than the network, and loses what is written after so many bytes.
type hostileConn struct {
	net.Conn
	victim *victim
	ctx    context.Context //nolint:containedctx // of the attack
	left   int
}

func (c *hostileConn) Write(p []byte) (int, error) {
	for n := range (min(c.left, len(p)) + writeSize - 1) / writeSize {
		part := p[n*writeSize : min((n+1)*writeSize, c.left, len(p))]
		if err := c.victim.network.WaitN(c.ctx, len(part)); err != nil {
			return 0, err
		}
		if _, err := c.Conn.Write(part); err != nil {
			return 0, err
		}
		c.victim.sent.Add(int64(len(part)))
	}
	c.left -= min(c.left, len(p))
	return len(p), nil
}

func (v *victim) dial(ctx context.Context, addr string, left int) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	return &hostileConn{c, v, ctx, left}, err
}

// client returns a client on its own connection, which loses what follows so many bytes.
func (v *victim) client(left int) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+v.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(64<<10), // a slow reader's window does not grow
		grpc.WithContextDialer(func(_ context.Context, addr string) (net.Conn, error) {
			return v.dial(context.Background(), addr, left)
		}))
}

// post sends a body that begins so and goes on with so many bytes of part. It then waits for
// the end of the connection. A length of 0 is that of the body.
func (v *victim) post(ctx context.Context, path, begin, part string, bytes, length int) {
	conn, err := v.dial(ctx, v.http, 1<<40)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close() //nolint:errcheck // nothing is lost
	end := ""
	if length == 0 {
		end = "]}"
		length = len(begin) + bytes + len(end)
	}
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\n\r\n%s", path, length, begin)
	chunk := []byte(strings.Repeat(part, writeSize/len(part)))
	for err == nil && bytes > 0 {
		n := min(bytes, len(chunk))
		_, err = conn.Write(chunk[:n])
		bytes -= n
	}
	_, _ = io.WriteString(conn, end)
	_, _ = io.Copy(io.Discard, conn)
}
