"""A batch of a suspended tenant."""

from llmapi.tenants.tenants import Tenants
from tests.tasks.batching import House, line


def test_a_batch_of_a_suspended_tenant_asks_no_more_until_it_is_resumed(database):
    house, tenants = House(database.open(), turn=0.0), Tenants(database.open())
    tenants.create("a")
    id = house.put(*(line(n) for n in range(30)))
    house.model.behaviour = lambda text, call: tenants.suspend("a")
    house.run()
    assert 0 < sum(house.model.paid.values()) < 30
    assert house.run() is None
    house.model.behaviour = lambda text, call: None
    tenants.resume("a")
    house.run()
    assert (house.get(id).status, house.get(id).completed) == ("completed", 30)
