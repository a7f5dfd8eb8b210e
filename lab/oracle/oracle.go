// Package oracle is the laboratory's memory of what really happened: an
// append-only journal, outside all regions, of every write before it is tried
// and of every write that a server acknowledged.
//
// Each process that writes keeps a file of its own in the journal's folder, one
// JSON object per line. An acknowledgement counts only once it is on the disk:
// [Journal.Acked] and its siblings return after the file was synced, and syncs
// are shared by all who wait.
//
// What recovery claims is held against it. Nothing that recovers may read it.
package oracle

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Row is one row of a table.
type Row struct {
	ID   int64  `json:"id"`   // unique in its table, over all regions and processes
	Time int64  `json:"time"` // event time, microseconds since 1970 UTC
	Sum  string `json:"sum"`  // of the payload, see [Sum]
}

// Commit is one append to a table.
type Commit struct {
	ID      string    `json:"id"` // of the commit, as its log entry names it
	Region  string    `json:"region"`
	Table   string    `json:"table"`
	Version int64     `json:"version"`
	Rows    []Row     `json:"rows"`
	Bytes   int64     `json:"bytes,omitempty"` // of its data file, where known
	Time    time.Time `json:"time"`            // when it was tried
}

// Message is one record of a topic.
type Message struct {
	Region    string    `json:"region"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`     // of an attempt: -1, it is not known yet
	Offset    int64     `json:"offset"`        // of an attempt: -1
	Key       string    `json:"key"`           // unique in its topic
	Sum       string    `json:"sum"`           // of the value, see [Sum]
	Time      time.Time `json:"time"`          // of the record
	Log       int       `json:"log,omitempty"` // how often the topic was created anew before
}

// Consumed says that a group committed an offset, having processed all before it.
type Consumed struct {
	Region    string    `json:"region"`
	Group     string    `json:"group"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"` // of the next record to process
	Time      time.Time `json:"time"`
	Log       int       `json:"log,omitempty"` // as of a message
}

// Anew says that a topic was deleted, with all that was in it, and created anew.
type Anew struct {
	Region string    `json:"region"`
	Topic  string    `json:"topic"`
	Log    int       `json:"log"` // of the messages from then on
	Time   time.Time `json:"time"`
}

// line is one line of a journal; one of the pointers is set.
type line struct {
	Acked    bool      `json:"acked,omitempty"`
	Lost     bool      `json:"lost,omitempty"` // somebody else has that version
	Commit   *Commit   `json:"commit,omitempty"`
	Message  *Message  `json:"message,omitempty"`
	Consumed *Consumed `json:"consumed,omitempty"`
	Anew     *Anew     `json:"anew,omitempty"`
}

// Journal is one process's file of the journal. Its methods may be called
// concurrently.
type Journal struct {
	file *os.File

	mu      sync.Mutex
	buf     *bufio.Writer
	waiting chan struct{} // closed when what is in buf now is on the disk
	dirty   chan struct{} // capacity 1: somebody waits for a sync
	err     error         // the first failure; nothing counts after it

	done chan struct{}
}

// Open makes a new file in the journal's folder dir, which is made if needed.
// name tells the processes apart in file names.
func Open(dir, name string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open the oracle's journal: %w", err)
	}
	file, err := os.CreateTemp(dir, time.Now().UTC().Format("20060102T150405")+"-"+name+"-*.jsonl")
	if err != nil {
		return nil, fmt.Errorf("open the oracle's journal: %w", err)
	}
	j := &Journal{
		file: file, buf: bufio.NewWriterSize(file, 1<<16),
		waiting: make(chan struct{}), dirty: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go j.sync()
	return j, nil
}

// sync writes and syncs for all who wait at that moment, again and again. While
// one sync runs the next batch gathers.
func (j *Journal) sync() {
	defer close(j.done)
	for range j.dirty {
		j.mu.Lock()
		waiting := j.waiting
		j.waiting = make(chan struct{})
		err := j.buf.Flush()
		j.mu.Unlock()
		if err == nil {
			err = j.file.Sync()
		}
		if err != nil {
			j.mu.Lock()
			j.err = errors.Join(j.err, fmt.Errorf("sync the oracle's journal %s: %w", j.file.Name(), err))
			j.mu.Unlock()
		}
		close(waiting)
	}
}

// add appends a line; with wait it returns when the line is on the disk.
func (j *Journal) add(l line, wait bool) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("write the oracle's journal: %w", err)
	}
	j.mu.Lock()
	if j.err == nil {
		if _, err := j.buf.Write(append(text, '\n')); err != nil {
			j.err = fmt.Errorf("write the oracle's journal %s: %w", j.file.Name(), err)
		}
	}
	waiting, err := j.waiting, j.err
	j.mu.Unlock()
	if err != nil || !wait {
		return err
	}
	select {
	case j.dirty <- struct{}{}:
	default: // the sync that is asked for already takes this line too
	}
	<-waiting
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Tried notes a commit before it is sent: whether it took place may never be
// known to its writer.
func (j *Journal) Tried(c Commit) error { return j.add(line{Commit: &c}, false) }

// Lost notes that the commit did not become that version: another writer's has it.
func (j *Journal) Lost(c Commit) error {
	c.Rows = nil
	return j.add(line{Commit: &c, Lost: true}, false)
}

// Acked notes that the store acknowledged the commit.
func (j *Journal) Acked(c Commit) error { return j.add(line{Commit: &c, Acked: true}, true) }

// Sent notes a message before it is sent.
func (j *Journal) Sent(m Message) error {
	m.Partition, m.Offset = -1, -1
	return j.add(line{Message: &m}, false)
}

// Delivered notes that the broker acknowledged the message at its offset.
func (j *Journal) Delivered(m Message) error { return j.add(line{Message: &m, Acked: true}, true) }

// Committed notes that the broker acknowledged a group's offset.
func (j *Journal) Committed(c Consumed) error { return j.add(line{Consumed: &c, Acked: true}, true) }

// Created notes that a topic was created anew.
func (j *Journal) Created(a Anew) error { return j.add(line{Anew: &a, Acked: true}, true) }

// Close writes what is left and closes the file. Nobody may write any more.
func (j *Journal) Close() error {
	close(j.dirty)
	<-j.done
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.err, j.buf.Flush(), j.file.Sync(), j.file.Close())
}

// readFile calls each for every whole line of one file. The last line may be cut
// where its process died; it counted for nobody.
func readFile(path string, each func(line)) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read the oracle's journal: %w", err)
	}
	defer f.Close() //nolint:errcheck // read
	r := bufio.NewReaderSize(f, 1<<20)
	for n := 1; ; n++ {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the oracle's journal %s: %w", path, err)
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return fmt.Errorf("read the oracle's journal %s:%d: %w", path, n, err)
		}
		each(l)
	}
}

// files are the journal's files, oldest first.
func files(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("list the oracle's journal in %s: %w", dir, err)
	}
	return paths, nil
}
