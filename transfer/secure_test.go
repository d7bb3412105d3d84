package transfer

import (
	"bytes"
	"crypto/tls"
	"net"
	"runtime"
	"testing"
)

// tally is a socket that notes how much each write took.
type tally struct {
	net.Conn
	writes []int
}

func (c *tally) Write(b []byte) (int, error) {
	c.writes = append(c.writes, len(b))
	return c.Conn.Write(b)
}

func TestRecordsTravelInTrains(t *testing.T) {
	for _, v := range versions {
		rawServer, rawClient := pair(t)
		count := &tally{Conn: rawServer}
		server, client := over(t, v.id, count, rawClient)
		count.writes = nil
		got := drain(client)
		content := noise(4 << 20)
		if _, err := Send(t.Context(), server, plain{newDisk(t, content, 0)}, 0, Options{}); err != nil {
			t.Fatal(err)
		}
		for _, n := range count.writes {
			if n < 64<<10 {
				t.Errorf("%s: a write of %d bytes; want 64 KiB or more", v.name, n)
			}
		}
		if server.wire.train != nil {
			t.Errorf("%s: a train waits while nothing is written", v.name)
		}
		server.Close()
		if b, err := got(); err != nil || !bytes.Equal(b, content) {
			t.Errorf("%s: %d bytes came, %v", v.name, len(b), err)
		}
	}
}

func TestSmallRecordsAreGatheredToo(t *testing.T) {
	rawServer, rawClient := pair(t)
	count := &tally{Conn: rawServer}
	server := Server(count, &tls.Config{Certificates: []tls.Certificate{certificate()}}) // records of a packet each
	client := Client(rawClient, &tls.Config{InsecureSkipVerify: true})
	got := drain(client)
	if _, err := server.Write(noise(300_000)); err != nil { // does the handshake
		t.Fatal(err)
	}
	if len(count.writes) > 20 {
		t.Errorf("%d writes for 300000 bytes", len(count.writes))
	}
	server.Close()
	if b, err := got(); err != nil || !bytes.Equal(b, noise(300_000)) {
		t.Errorf("%d bytes came, %v", len(b), err)
	}
}

func TestNothingFollowsABrokenTrain(t *testing.T) {
	rawServer, rawClient := pair(t)
	count := &tally{Conn: rawServer}
	server, _ := over(t, tls.VersionTLS13, count, rawClient)
	_ = rawServer.SetWriteDeadline(past)
	if _, err := server.Write(make([]byte, 1000)); err == nil {
		t.Fatal("a write after its deadline went well")
	}
	_ = rawServer.SetWriteDeadline(past.AddDate(200, 0, 0))
	count.writes = nil
	if err := server.CloseWrite(); err == nil || len(count.writes) > 0 {
		t.Errorf("close_notify after a hole: %v, %d writes", err, len(count.writes))
	}
}

// allocated is how many objects and bytes run allocates.
func allocated(run func()) (objects, bytes uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs, after.TotalAlloc - before.TotalAlloc
}

func TestTLSAllocatesNothingPerRecordOrSlice(t *testing.T) {
	if raced {
		t.Skip("the race detector makes pools forget")
	}
	const amount = 64 << 20 // 4096 records, 1024 trains, 256 slices
	opt := Options{Idle: 1 << 40}
	for _, v := range versions {
		rawServer, rawClient := pair(t)
		server, _ := over(t, v.id, rawServer, rawClient)
		done := make(chan struct{})
		go func() { // reads records without opening them: crypto/tls allocates where it reads
			defer close(done)
			b := make([]byte, 64<<10)
			for {
				if _, err := rawClient.Read(b); err != nil {
					return
				}
			}
		}()
		if _, err := Send(t.Context(), server, zeros(1<<20), 0, opt); err != nil { // fills the pools
			t.Fatal(err)
		}
		objects, _ := allocated(func() {
			if rep, err := Send(t.Context(), server, zeros(amount), 0, opt); err != nil || rep.Bytes != amount {
				t.Error(rep, err)
			}
		})
		if objects > 100 {
			t.Errorf("%s: a download of 64 MiB allocates %d objects", v.name, objects)
		}
		server.Close()
		<-done

		rawServer, rawClient = pair(t)
		server, client := over(t, v.id, rawServer, rawClient)
		b := make([]byte, wholeBuffer)
		if _, err := client.Write(b); err != nil {
			t.Fatal(err)
		}
		_, size := allocated(func() {
			go func() {
				for range amount/wholeBuffer - 1 {
					_, _ = client.Write(b)
				}
				client.Close()
			}()
			if rep, err := Receive(t.Context(), void{}, server, opt); err != nil || rep.Bytes != amount {
				t.Error(rep, err)
			}
		})
		// crypto/tls allocates a reader of a few words for each read from the
		// socket, so objects say nothing here. Buffers would be 64 MiB.
		if size > 1<<20 {
			t.Errorf("%s: an upload of 64 MiB allocates %d bytes", v.name, size)
		}
	}
}
