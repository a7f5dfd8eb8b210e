package lab

import (
	"fmt"
	"io/fs"
	"os"
)

// ServerStatus is one process of the laboratory.
type ServerStatus struct {
	Name    string `json:"name"`
	Place   string `json:"place"` // a region, or the third place
	Address string `json:"address,omitempty"`
	Pid     int    `json:"pid,omitempty"`
	Running bool   `json:"running"`
	RSS     int64  `json:"rss_bytes"`
}

// Status is the laboratory at a glance.
type Status struct {
	Dir      string         `json:"dir"`
	Estate   string         `json:"estate"`
	Temporal string         `json:"temporal"`
	UI       string         `json:"ui"`
	Servers  []ServerStatus `json:"servers"`
	RSS      int64          `json:"rss_bytes"` // of all
}

// Status looks at the processes; it asks no server anything.
func (l *Lab) Status() (Status, error) {
	if _, err := os.Stat(l.path("lab.json")); err != nil {
		return Status{}, fmt.Errorf("no laboratory in %s: start one with breakwater-lab up: %w", l.Dir, fs.ErrNotExist)
	}
	if err := l.state.read(l.path("lab.json")); err != nil {
		return Status{}, err
	}
	s := Status{Dir: l.Dir, Estate: l.EstateFile(), Temporal: l.TemporalAddress(), UI: l.UI()}
	for _, v := range l.parts() {
		p := v.process()
		one := ServerStatus{Name: v.name, Place: v.place, Running: p.Running(), RSS: p.RSS(), Address: l.address(v)}
		if one.Running {
			one.Pid = p.Pid
		}
		s.RSS += one.RSS
		s.Servers = append(s.Servers, one)
	}
	return s, nil
}

func (l *Lab) address(s part) string {
	switch s.name {
	case "wan":
		return l.addr("line-control")
	case "connect-" + Standby:
		return l.connectURL()
	case "broker-" + Primary, "broker-" + Standby:
		return l.brokerAddrs(s.place).Admin
	}
	if view(&l.state, func(k kept) int { return k.Ports[s.name] }) == 0 {
		return ""
	}
	return l.addr(s.name)
}
