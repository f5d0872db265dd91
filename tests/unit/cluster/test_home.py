from pathlib import Path

from headway_cluster.home import Home


def test_headway_home_holds_everything():
    home = Home.find({"HEADWAY_HOME": "/srv/headway", "XDG_CACHE_HOME": "/elsewhere"})
    assert home == Home(Path("/srv/headway/cache"), Path("/srv/headway/state"))


def test_without_it_the_xdg_folders_are_used():
    home = Home.find({"XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s", "HOME": "/home/u"})
    assert home == Home(Path("/c/headway"), Path("/s/headway"))


def test_without_those_their_defaults_below_the_users_home():
    home = Home.find({"HOME": "/home/u", "XDG_CACHE_HOME": "relative/is/invalid"})
    assert home == Home(Path("/home/u/.cache/headway"), Path("/home/u/.local/state/headway"))
