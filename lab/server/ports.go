package server

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports lie below those that the kernel hands out by itself: an outgoing
// connection of anybody's could otherwise take one while its server is starting, or
// dead, and then the server could not listen.
const firstPort, lastPort = 10000, 32000

// held are the ports that this process has given away: as long as it lives no other
// one is given them, whether or not somebody listens there.
var held struct {
	sync.Mutex
	marks []net.Listener
}

// Ports finds n ports in a row on which nobody listens, and returns the first. No
// process that asks here gets one of them as long as this process lives. Those in
// taken are left out: a server that is stopped now will want them again.
func Ports(n int, taken map[int]bool) (first int, err error) {
	held.Lock()
	defer held.Unlock()
	for range 1000 {
		first := firstPort + rand.IntN(lastPort-firstPort-n)
		if marks, ok := hold(first, n, taken); ok {
			held.marks = append(held.marks, marks...)
			return first, nil
		}
	}
	return 0, fmt.Errorf("find %d free ports in a row on 127.0.0.1 between %d and %d: %w", n, firstPort, lastPort, fs.ErrNotExist)
}

// hold marks ports as given away. A mark is a name in the kernel's abstract
// namespace of sockets, which goes with the process that holds it.
func hold(first, n int, taken map[int]bool) (marks []net.Listener, ok bool) {
	for port := first; port < first+n; port++ {
		mark, err := net.Listen("unix", fmt.Sprintf("@breakwater-port-%d", port)) //nolint:noctx // it does not wait
		if err == nil {
			marks = append(marks, mark)
		}
		if err != nil || taken[port] || !free(port) {
			for _, m := range marks {
				m.Close() //nolint:errcheck // nothing was written
			}
			return nil, false
		}
	}
	return marks, true
}

func free(port int) bool {
	l, err := net.Listen("tcp", Address(port)) //nolint:noctx // a local bind does not wait
	return err == nil && l.Close() == nil
}

// Address is host:port of a port on the loopback.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
