/* bitnet_doctor_text.c - what models are made to read. */
#include "tools/bitnet_doctor.h"

const char doctor_text[] =
    "Once upon a time there was an old woman who lived in a small house near the sea. She had "
    "a little garden, a brown cow and two hens, and every morning she went down to the shore to "
    "look for wood. One day, when the wind had been blowing all night, she found a boy asleep "
    "among the stones. His clothes were wet and his face was as white as snow.\n\n"
    "\"Wake up, child!\" she said. \"You can't sleep here. Where did you come from?\"\n\n"
    "The boy opened his eyes and looked at her for a long time. \"I don't know,\" he said at "
    "last. \"I was on a ship with my father. There was a great storm, and then I remember "
    "nothing.\"\n\n"
    "So the old woman took him home, gave him bread and warm milk, and put him to bed beside the "
    "fire. He slept for a day and a night. When he woke, the sun was shining, and he could hear "
    "the birds singing in the trees. \"You may stay with me until your father comes,\" said the "
    "old woman, and she smiled, for she had been alone since the winter of 1847.\n\n"
    "The boy was strong and willing. He cut the wood, he fed the hens, and in the evening they "
    "sat together and she told him stories of kings and giants. It wasn't an easy life, but they "
    "were happy. In the spring, on the 12th of April, a ship with white sails came into the bay, "
    "and a tall man stood at the front of it and called the boy's name.";

const char doctor_question[] = "What is the capital of France, and on which river does it lie?";
const char doctor_answer[] = "The capital of France is Paris. It lies on the river Seine.";
